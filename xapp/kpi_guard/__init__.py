"""The KPI guard around the control loop: reports to policy.kpi_guard, hold-outs, verdicts, what is shown of them. May
import policy, xapp.config, control, http, leader, monitoring and ric; the loop knows it as a protocol only.
"""
