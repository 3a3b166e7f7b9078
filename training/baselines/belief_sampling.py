"""What may be waiting at UEs, and how good their RBGs may be, given the reports: samples, and the best DCM on them.

A particle filter of one step. A UE's queue D slots ago is drawn within its reported level, burst or no burst; then D
slots of the traffic law are played with what was decoded since; a sample is weighed by how well it agrees with that
and with RBGs on which an owner stayed silent. Channels are drawn from the report, or from what was decoded on the RBG
since, and faded by their age.

Suffixes: U UEs of a cell, M RBGs, S samples, D slots since the report, K samples before they are chosen by weight.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from policy.engine.portable_target import set_portable_target

set_portable_target()

CANDIDATES = 6
"""Queues drawn for each that is kept."""
DISAGREES = 1e-3
"""Weight of a sample in which what was seen could not have happened."""


@njit(cache=True, nogil=True)
def sample_queue(wait_A, level, level_before, head, served_D, idle_D, edges, packets, p_on, p_off, packet_bits):  # type: ignore[no-untyped-def]
    """One queue as it may be now, its bits by age into wait_A; its weight."""
    deadline, slots = wait_A.size, served_D.size
    wait_A[:] = 0.0
    low, high = edges[level], edges[level + 1]
    queue = 0.0
    if level > 0:
        queue = low + (high - low) * np.random.random()
        if np.random.random() < 0.3:
            queue = max(packet_bits * np.round(queue / packet_bits), low)
    if level == 0:
        silent = p_on * np.exp(-packets)
        on = np.random.random() < (silent / (silent + p_off + 1e-12) if level_before == 0 else 0.05)
    elif level > level_before:
        on = True
    else:
        on = np.random.random() < (0.25 if level < level_before else 0.4)
    oldest = min(head, deadline - 1)
    if queue > 0.0:
        first = 0 if on else min(1, oldest)
        for age in range(first, oldest + 1):
            wait_A[age] = queue / (oldest + 1 - first)
    weight, begins = 1.0, -1
    quiet = not on
    if quiet:
        # A burst may have begun unseen: half of the samples are spent on it, and weighed by how likely it is.
        if np.random.random() < 0.5:
            begins = np.random.randint(slots)
            weight = p_on * (1.0 - p_on) ** begins * 2.0 * slots
        else:
            weight = (1.0 - p_on) ** slots * 2.0
    for d in range(slots):
        served, total = served_D[d], wait_A.sum()
        if served > total + 1.0:
            weight *= DISAGREES * np.exp(-(served - total) / 2000.0)
        if idle_D[d] and total > 20.0:
            weight *= DISAGREES
        for age in range(deadline - 1, -1, -1):
            taken = min(served, wait_A[age])
            wait_A[age] -= taken
            served -= taken
        for age in range(deadline - 1, 0, -1):
            wait_A[age] = wait_A[age - 1]
        wait_A[0] = 0.0
        if quiet:
            if d == begins:
                on, quiet = True, False
        else:
            on = np.random.random() >= p_off if on else np.random.random() < p_on
        if on:
            wait_A[0] = packet_bits * np.random.poisson(packets)
    return weight


@njit(cache=True, nogil=True)
def sample_queues(  # type: ignore[no-untyped-def]
    seed, level_U, level_before_U, head_U, deadline_U, served_DU, idle_DU, edges, packets_U, p_on_U, p_off_U,
    packet_bits_U, urgency, queue_SU, urgent_SU,
):  # fmt: skip
    """Queues and how urgent their bits are, urgency^(slots left), into queue_SU and urgent_SU."""
    np.random.seed(seed)
    samples, ues = queue_SU.shape
    count = CANDIDATES * samples
    queue_K, urgent_K, weight_K = np.zeros(count), np.zeros(count), np.zeros(count)
    for u in range(ues):
        wait_A = np.zeros(int(deadline_U[u]))
        for k in range(count):
            weight_K[k] = sample_queue(
                wait_A, int(level_U[u]), int(level_before_U[u]), int(head_U[u]), served_DU[:, u], idle_DU[:, u], edges,
                packets_U[u], p_on_U[u], p_off_U[u], packet_bits_U[u],
            )  # fmt: skip
            value = 0.0
            for age in range(wait_A.size):
                value += wait_A[age] * urgency ** (wait_A.size - 1 - age)
            total = wait_A.sum()
            queue_K[k] = min(total, edges[-1])
            urgent_K[k] = value / total if total > 0.0 else 1.0
        # Systematic resampling, then a shuffle: UEs are independent.
        step = weight_K.sum() / samples
        start, passed, k = np.random.random() * step, 0.0, -1
        for s in range(samples):
            while passed < start + s * step and k < count - 1:
                k += 1
                passed += weight_K[k]
            queue_SU[s, u], urgent_SU[s, u] = queue_K[max(k, 0)], urgent_K[max(k, 0)]
        for s in range(samples - 1, 0, -1):
            j = np.random.randint(s + 1)
            queue_SU[s, u], queue_SU[j, u] = queue_SU[j, u], queue_SU[s, u]
            urgent_SU[s, u], urgent_SU[j, u] = urgent_SU[j, u], urgent_SU[s, u]


@njit(cache=True, nogil=True)
def sample_gains(seed, slots, rho, cqi_U, mean_U, preferred_U, decoded_UM, decoded_age_UM, level_db, gain_SUM):  # type: ignore[no-untyped-def]
    """SNRs at full power, linear, into gain_SUM."""
    np.random.seed(seed)
    samples, ues, num_rbgs = gain_SUM.shape
    share_M = np.zeros(num_rbgs)
    for u in range(ues):
        wide = 10.0 ** (level_db[int(cqi_U[u])] / 10.0)
        for s in range(samples):
            total, best = 0.0, 0
            for m in range(num_rbgs):
                share_M[m] = -np.log(np.random.random() + 1e-12)
                total += share_M[m]
                if share_M[m] > share_M[best]:
                    best = m
            preferred = int(preferred_U[u])
            if preferred >= 0:
                share_M[best], share_M[preferred] = share_M[preferred], share_M[best]
            for m in range(num_rbgs):
                age, then = slots, share_M[m] / total * num_rbgs * wide
                if 0 < decoded_age_UM[u, m] <= slots:
                    age = int(decoded_age_UM[u, m])
                    decoded_db = level_db[int(decoded_UM[u, m])] + (np.random.random() - 0.5) * 1.8
                    then = 10.0 ** (decoded_db / 10.0)
                kept = rho**age
                spread = np.sqrt((1.0 - kept * kept) * mean_U[u] / 2.0)
                real = kept * np.sqrt(then) + spread * np.random.randn()
                imaginary = spread * np.random.randn()
                gain_SUM[s, u, m] = real * real + imaginary * imaginary


@njit(cache=True, nogil=True)
def rate_of(snr, snr_steps, bits_per_rbg):  # type: ignore[no-untyped-def]
    level = 0
    for step in snr_steps:
        level += snr >= step
    return bits_per_rbg[level]


@njit(cache=True, nogil=True)
def respond(queue, gain_M, may_M, order_M, snr_steps, bits_per_rbg, sends_M):  # type: ignore[no-untyped-def]
    """The UE's best response (training.simulator.mac_rule); how many RBGs it sends on."""
    count = 0
    for m in range(gain_M.size):
        sends_M[m] = False
        if may_M[m]:
            place = count
            while place > 0 and gain_M[order_M[place - 1]] < gain_M[m]:
                order_M[place] = order_M[place - 1]
                place -= 1
            order_M[place] = m
            count += 1
    best, best_k = 0.0, 0
    for k in range(1, count + 1):
        if best + 20.0 >= queue:
            break
        bits = 0.0
        for j in range(k):
            bits += rate_of(gain_M[order_M[j]] / k, snr_steps, bits_per_rbg)
        if min(bits, queue) > best + 20.0:
            best, best_k = min(bits, queue), k
    for j in range(best_k):
        sends_M[order_M[j]] = True
    return best_k


@njit(cache=True, nogil=True)
def value_of(owner_M, contenders, queue_SU, urgent_SU, gain_SUM, coin_SUM, weight_U, snr_steps, bits_per_rbg, cost):  # type: ignore[no-untyped-def]
    """The value of one slot under these owners and this c, mean over samples."""
    samples, ues, num_rbgs = gain_SUM.shape
    may_M, order_M = np.zeros(num_rbgs, np.bool_), np.zeros(num_rbgs, np.int64)
    sends_UM, senders_M = np.zeros((ues, num_rbgs), np.bool_), np.zeros(num_rbgs, np.int64)
    on_U = np.zeros(ues, np.int64)
    p, total = min(1.0, contenders / ues), 0.0
    for s in range(samples):
        senders_M[:] = 0
        for u in range(ues):
            on_U[u] = 0
            sends_UM[u, :] = False
            if queue_SU[s, u] <= 0.0:
                continue
            anywhere = False
            for m in range(num_rbgs):
                may_M[m] = owner_M[m] == u or (owner_M[m] == -1 and coin_SUM[s, u, m] < p)
                anywhere |= may_M[m]
            if anywhere:
                on_U[u] = respond(queue_SU[s, u], gain_SUM[s, u], may_M, order_M, snr_steps, bits_per_rbg, sends_UM[u])
                for m in range(num_rbgs):
                    senders_M[m] += sends_UM[u, m]
        for u in range(ues):
            if on_U[u]:
                bits = 0.0
                for m in range(num_rbgs):
                    if sends_UM[u, m] and senders_M[m] == 1:
                        bits += rate_of(gain_SUM[s, u, m] / on_U[u], snr_steps, bits_per_rbg)
                total += weight_U[u] * urgent_SU[s, u] * min(bits, queue_SU[s, u])
        for m in range(num_rbgs):
            total -= cost * (senders_M[m] > 1)
    return total / samples


@njit(cache=True, nogil=True)
def ascend(  # type: ignore[no-untyped-def]
    owner_M, contenders, queue_SU, urgent_SU, gain_SUM, coin_SUM, weight_U, snr_steps, bits_per_rbg, cost, levels,
    sweeps, busy_U,
):  # fmt: skip
    """Change one owner, or c, at a time while it gains: (value, c), the owners in place."""
    ues, num_rbgs = weight_U.size, owner_M.size
    best = value_of(
        owner_M, contenders, queue_SU, urgent_SU, gain_SUM, coin_SUM, weight_U, snr_steps, bits_per_rbg, cost
    )
    for _ in range(sweeps):
        before = best
        for level in levels:
            value = value_of(
                owner_M, level, queue_SU, urgent_SU, gain_SUM, coin_SUM, weight_U, snr_steps, bits_per_rbg, cost
            )
            if value > best + 1e-9:
                best, contenders = value, level
        for m in range(num_rbgs):
            old = owner_M[m]
            chosen = old
            for owner in range(-1, ues):
                if owner == old or (owner >= 0 and not busy_U[owner]):
                    continue
                owner_M[m] = owner
                value = value_of(
                    owner_M, contenders, queue_SU, urgent_SU, gain_SUM, coin_SUM, weight_U, snr_steps, bits_per_rbg,
                    cost,
                )  # fmt: skip
                if value > best + 1e-9:
                    best, chosen = value, owner
            owner_M[m] = chosen
        if best <= before + 1e-9:
            break
    return best, contenders
