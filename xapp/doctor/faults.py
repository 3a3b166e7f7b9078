"""Everything that the doctor can find, by name, with what to do about it. docs/troubleshooting.md lists the same."""

from __future__ import annotations

FAULTS: dict[str, str] = {
    "config_missing": "Name the descriptor that the xApp runs with: --config FILE, or its XAPP_DESCRIPTOR_PATH or "
    "CONFIG_FILE. It is a JSON document with a section `controls`, as descriptors/config-file.json is.",
    "config_unusable": "Mend the named field of the descriptor's `controls`; descriptors/schema.json says what it may "
    "be. A running xApp keeps the configuration that it had.",
    "xapp_unreachable": "Is the pod running? `kubectl -n ricxapp get pods`, then its log. Elsewhere than in its "
    "container, say where it answers with --url; where it asks for a token, show it with --token-file.",
    "no_route_table": "No route manager has spoken to this xApp, and RMR_SEED_RT names no table. Is the xApp "
    "registered with appmgr, does service-ricxapp-<name>-rmr expose port 4561, does rtmgr's log show a push?",
    "no_control_route": "The route table has no way for message type 12040: list RIC_CONTROL_REQ under txMessages of "
    "the descriptor and register anew.",
    "sdl_down": "Redis (dbaas) does not answer under DBAAS_SERVICE_HOST and DBAAS_SERVICE_PORT. Decisions go on; "
    "subscriptions, policies and limits of UEs would not survive a restart.",
    "sdl_in_memory": "DBAAS_SERVICE_HOST is not set: nothing survives a restart, and a second instance is not noticed.",
    "submgr_unreachable": "Check controls.ric.submgr_url and the pod of submgr: without it there are no reports.",
    "e2mgr_unreachable": "Check controls.ric.e2mgr_url and the pod of e2mgr: without it and SDL no node is seen.",
    "appmgr_unreachable": "Check controls.ric.appmgr_url and the pod of appmgr: an xApp that is not registered gets no "
    "routes from rtmgr.",
    "not_registered": "appmgr does not know this xApp: its name must be the descriptor's, its endpoints "
    "service-ricxapp-<name>-http and -rmr. It registers again by itself; its log says what appmgr answered.",
    "no_nodes": "No E2 node is connected to the RIC: check the gNB's E2 agent and its address of e2term.",
    "node_disconnected": "The node was there and is not connected now: check its E2 association.",
    "node_entry_unmatched": "No node has a name that this entry of controls.nodes fits, so nobody has its settings, "
    "nor, under only_listed_nodes, a subscription: OSC's e2term calls a gNB or CU gnb_..., a DU gnbd_..._<DU id>, a "
    "CU-UP gnbc_... (docs/nodes.md).",
    "no_control_function": "The node offers neither the DCM function nor E2SM-RC: its cells are only watched.",
    "quotas_not_offered": "The node's E2SM-RC has no slice-level PRB quotas (control style 2, action 6): a newer gNB "
    "is needed.",
    "quota_layout_unknown": "The node lists the PRB quotas with parameters of neither layout that is known here: a "
    "fork that means other things by them. It is never controlled.",
    "slice_ratios_not_offered": "The node's E2SM-CCC lists O-RRMPolicyRatio of no cell: a newer gNB is needed, or "
    "its cells are controlled by quotas of UEs.",
    "slice_baseline_unknown": "Say under `nodes[].slices` which min_ratio, max_ratio and dedicated_ratio the node has "
    "for the slice, so that it can be given back; or set baseline_from_outcome (docs/ccc.md).",
    "slices_both_directions": "Nothing is wrong: such a node has one share of a slice for uplink and downlink, so a "
    "limit for the uplink's sake holds in the downlink, too (docs/ccc.md).",
    "slices_not_reported": "Name the slice under `nodes[].slices`. A node that takes one condition reports the first "
    "slice of the list only.",
    "no_kpm_function": "The node offers no E2SM-KPM: switch it on in the gNB's E2 agent (srsRAN: `e2sm_kpm_enabled`).",
    "function_unreadable": "The node describes a RAN function in bytes that cannot be read: `stackmac e2 decode` says "
    "where; see whether a newer release of the node describes it by the standard.",
    "measurements_missing": "None of controls.measurements is among those that the node lists: name some that it has.",
    "measurements_refused": "The node lists these measurements and refuses a subscription to them: the xApp goes on "
    "without. Leave them out of controls.measurements, or switch them on at the node.",
    "ues_in_several_cells": "The node reports all its UEs in each of its cells' subscriptions (srsRAN and OCUDU do): "
    "each counts for one cell, the first that reported it, and the strictest limit of all these cells holds.",
    "subscription_failed": "The node or submgr refused: see the cause. The period may be one that the node does not "
    "support.",
    "subscription_pending": "submgr accepted and the node has not answered: look at submgr's and e2term's logs. The "
    "xApp asks again by itself.",
    "subscription_double": "More than one live subscription for the same node, function and cell: delete the one that "
    "is not in the xApp's status (DELETE /ric/v1/subscriptions/<id> at submgr).",
    "no_indications": "Subscribed, but no report arrives: does rtmgr route 12050 for this subscription to the xApp's "
    "RMR endpoint (controls.http.host with http replaced by rmr)?",
    "undecodable_indications": "Reports arrive and cannot be read: leave the node's `dialect` at auto, which tells by "
    "itself; the log says where reading failed.",
    "measurements_repeat": "The node measures more seldom than it reports: decisions in between learn nothing. "
    "OCUDU, srsRAN: `du_report_period` under `metrics`; here: `report_period_ms`.",
    "ue_twins": "The node names several UEs alike: neither reports nor quotas can tell them apart. A newer release of "
    "the node, or of its core, may name them properly.",
    "controls_unanswered": "Controls are sent and nobody answers: does e2term know the node's meid, and does the route "
    "for 12041 and 12042 lead back?",
    "controls_refused": "The node refuses the controls: the cause is named. With E2SM-RC check PLMN, slice and the UE "
    "identity that it expects.",
    "controls_ineffective": "Controls are acknowledged but the node reports that it follows another: does another xApp "
    "control the same cells?",
    "yielded": "A younger instance of this xApp controls the cells; this one only watches. Stop one of them.",
    "model_missing": "The leader cannot be loaded: controls.leader is wrong, or the model volume is not mounted.",
    "model_failing": "The model raises errors and the classical schedule takes its place: see the log.",
    "model_slow": "The model misses its deadline and the classical schedule takes its place: give it more CPU, fewer "
    "cells an instance, a longer period, or a smaller bundle.",
    "leader_reverted": "The KPI guard found cells worse off with the leader, and the node decides there: `stackmac "
    "guard show` names rule and figures; change the leader, then `stackmac guard reset CELL` (docs/guard.md).",
    "policy_not_enforced": "A policy cannot hold as written; the reason is named. GET /ric/v1/policies shows all.",
}
"""Name -> advice."""
