"""The KPI guard around the control loop: reports to policy.kpi_guard, hold-outs, verdicts, what is shown of them.
May import policy, xapp.control and ric and what stands below them; the loop knows it as a protocol only.
"""
