package icinga

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"checkbus/checks"
)

func TestStatusOfAnEntry(t *testing.T) {
	const result = `"last_check_result":{"execution_start":1795290003.1,"execution_end":1795290003.152931,"schedule_end":1795290003.2,"exit_status":0,"output":"text\nmore","performance_data":["t=21.5;25"],"state":%d,"vars_after":{"attempt":2,"reachable":%t,"state_type":%d}}`
	at := time.Date(2026, 11, 21, 19, 40, 3, 152931000, time.UTC)
	disk, web1 := service("disk"), checks.Object{Host: "web1"}
	since := time.UnixMicro(1795290000000001).UTC()
	full := func(o checks.Object, state checks.State, soft bool) checks.Status {
		return checks.Status{Object: o, State: state, Soft: soft, Attempt: 2, Reason: "text\nmore", Perfdata: "t=21.5;25", Time: at, Since: since}
	}
	flagged := full(disk, checks.Critical, false)
	flagged.Acknowledged, flagged.InDowntime, flagged.Flapping = true, true, true
	unknownSince := full(disk, checks.OK, false)
	unknownSince.Since = time.Time{}
	const change = `,"last_state_change":1795290000.000001`
	tests := map[string]struct {
		name, attrs string
		want        checks.Status
	}{
		"pending":            {"web1!disk", `"last_check_result":null,"last_state_change":0`, checks.Status{Object: disk, State: checks.Pending}},
		"pending, flagged":   {"web1", `"last_check_result":null,"downtime_depth":1`, checks.Status{Object: web1, State: checks.Pending, InDowntime: true}},
		"ok":                 {"web1!disk", fmt.Sprintf(result, 0, true, 1) + change, full(disk, checks.OK, false)},
		"soft warning":       {"web1!disk", fmt.Sprintf(result, 1, true, 0) + change, full(disk, checks.Warning, true)},
		"no known state":     {"web1!disk", fmt.Sprintf(result, 7, true, 1) + change, full(disk, checks.Unknown, false)},
		"behind a dead host": {"web1!disk", fmt.Sprintf(result, 2, false, 1) + change, full(disk, checks.Critical, false)},
		"host up":            {"web1", fmt.Sprintf(result, 0, true, 1) + change, full(web1, checks.Up, false)},
		"host with warning":  {"web1", fmt.Sprintf(result, 1, true, 1) + change, full(web1, checks.Up, false)},
		"host down":          {"web1", fmt.Sprintf(result, 2, true, 0) + change, full(web1, checks.Down, true)},
		"host unreachable":   {"web1", fmt.Sprintf(result, 2, false, 1) + change, full(web1, checks.Unreachable, false)},
		"flagged":            {"web1!disk", fmt.Sprintf(result, 2, true, 1) + change + `,"acknowledgement":2,"acknowledgement_expiry":0,"downtime_depth":2,"flapping":true,"enable_flapping":true`, flagged},
		"flapping unheeded":  {"web1!disk", fmt.Sprintf(result, 2, true, 1) + change + `,"flapping":true,"enable_flapping":false`, full(disk, checks.Critical, false)},
		"acknowledged once":  {"web1!disk", fmt.Sprintf(result, 2, true, 1) + change + `,"acknowledgement":1,"acknowledgement_expiry":1795290003`, full(disk, checks.Critical, false)},
		"never changed":      {"web1!disk", fmt.Sprintf(result, 0, true, 1) + `,"last_state_change":0`, unknownSince},
		"read in between":    {"web1!disk", fmt.Sprintf(result, 0, true, 1) + `,"last_state_change":1795290009.5,"previous_state_change":1795290000.000001`, full(disk, checks.OK, false)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var got []reading
			answer := fmt.Sprintf(`{"results":[{"attrs":{%s},"name":%q}]}`, tt.attrs, tt.name)
			if err := decodeList(strings.NewReader(answer), func(e *entry) { got = append(got, e.reading()) }); err != nil || len(got) != 1 {
				t.Fatalf("%d readings, %v", len(got), err)
			}
			if got[0].Status != tt.want {
				t.Errorf("got\n%s, want\n%s", show(got[0].Status), show(tt.want))
			}
			if tt.want.State != checks.Pending && got[0].checked != 1795290003200000 {
				t.Errorf("checked = %d", got[0].checked)
			}
		})
	}
}

func TestPerfdataOfAnEntry(t *testing.T) {
	tests := map[string]struct{ items, want string }{
		"none":        {`null`, ""},
		"several":     {`["a=1s;2;3","b=4"]`, "a=1s;2;3 b=4"},
		"with spaces": {`["a b=1","'c d'=2","it's=3"]`, "'a b'=1 'c d'=2 'it''s'=3"},
		"objects":     {`[{"type":"PerfdataValue","label":"a b","value":1.5,"unit":"seconds","counter":false,"warn":2,"crit":null,"min":0,"max":null},{"label":"n","value":7,"counter":true}]`, "'a b'=1.5seconds;2;;0 n=7c"},
		"odd ones":    {`[7,"a=1",null,{},[],"b=2",{"label":"x","value":"y"}]`, "a=1 b=2"},
		"no pair":     {`["nonsense here"]`, "nonsense here"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var got string
			answer := fmt.Sprintf(`{"results":[{"name":"a","attrs":{"last_check_result":{"performance_data":%s}}}]}`, tt.items)
			if err := decodeList(strings.NewReader(answer), func(e *entry) { got = e.reading().Perfdata }); err != nil {
				t.Fatal(err)
			}
			if got != tt.want {
				t.Errorf("perfdata = %q, want %q", got, tt.want)
			}
		})
	}
}
