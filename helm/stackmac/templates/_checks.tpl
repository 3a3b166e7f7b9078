{{/*
What is wrong with `controls` that the values' schema cannot say, because it is about several fields. Each check is the
one that `stackmac run` makes. Takes the controls as the pod reads them.
*/}}
{{- define "stackmac.checkControls" -}}
{{- $a1 := .a1 -}}
{{- $ids := list (int $a1.slice_sla_type_id) (int $a1.ue_level_type_id) (int $a1.qos_type_id) -}}
{{- if lt (len (uniq (append $ids 20100))) 4 -}}
{{- fail (printf "controls.a1: slice_sla_type_id, ue_level_type_id and qos_type_id are %v, expected three numbers that differ, and from 20100" $ids) -}}
{{- end -}}
{{- $guard := .kpi_guard -}}
{{- range $prefix := list "" "rc_" -}}
{{- $ignored := int (get $guard (printf "%signored_ms" $prefix)) -}}
{{- $window := int (get $guard (printf "%swindow_ms" $prefix)) -}}
{{- if ge $ignored $window -}}
{{- fail (printf "controls.kpi_guard: %signored_ms is %d, expected less than %swindow_ms, %d" $prefix $ignored $prefix $window) -}}
{{- end -}}
{{- end -}}
{{- range $i, $node := .nodes -}}
{{- $prb := int (default 106 $node.num_prb) -}}
{{- $size := int (default 0 $node.rbg_size_prb) -}}
{{- if and $size (gt $prb (mul 18 $size | int)) -}}
{{- fail (printf "controls.nodes.%d: num_prb %d in groups of %d are more than 18 RBGs" $i $prb $size) -}}
{{- end -}}
{{- range $j, $slice := $node.slices -}}
{{- $low := get $slice "min_ratio" -}}
{{- $high := get $slice "max_ratio" -}}
{{- $given := list -}}
{{- range $ratio := list $low $high -}}
{{- if or (kindIs "float64" $ratio) (kindIs "int64" $ratio) (kindIs "int" $ratio) -}}
{{- $given = append $given (int $ratio) -}}
{{- end -}}
{{- end -}}
{{- if eq (len $given) 1 -}}
{{- fail (printf "controls.nodes.%d.slices.%d: min_ratio and max_ratio go together: give both or neither" $i $j) -}}
{{- end -}}
{{- if and (eq (len $given) 2) (gt (first $given) (last $given)) -}}
{{- fail (printf "controls.nodes.%d.slices.%d: min_ratio %d is above max_ratio %d" $i $j (first $given) (last $given)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .rmr.route_sources (eq .rmr.transport "librmr") -}}
{{- fail "controls.rmr.transport is librmr, which takes route tables from everybody: expected si95 or auto with controls.rmr.route_sources" -}}
{{- end -}}
{{- if and .leader_process (not (contains ":" .leader)) -}}
{{- fail (printf "controls.leader_process: only a plug-in, module:Class, has a process of its own, not controls.leader %q" .leader) -}}
{{- end -}}
{{- end -}}
