package checks_test

import (
	"fmt"
	"time"

	"checkbus/checks"
)

// A plugin measures, compares with its thresholds, prints, and exits with
// out.State.ExitCode().
func Example_plugin() {
	var warning, critical checks.Range // flag.TextVar(&warning, "w", checks.Range{}, "warning threshold")
	for flag, text := range map[*checks.Range]string{&warning: "80", &critical: "90"} {
		if err := flag.UnmarshalText([]byte(text)); err != nil {
			fmt.Println(err)
			return
		}
	}

	out := checks.Output{Service: "DISK", Long: []string{"2 file systems checked"}}
	var states []checks.State
	for _, disk := range []struct {
		path string
		used float64
	}{{"/", 42}, {"/var/my log", 85.5}} {
		item := checks.Perfdata{Label: disk.path, Value: disk.used, Unit: "%", Warning: warning, Critical: critical, Min: new(0.0), Max: new(100.0)}
		out.Perfdata = append(out.Perfdata, item)
		states = append(states, item.State())
		if item.State() != checks.OK {
			out.Text += fmt.Sprintf("%s is %v%% full", disk.path, disk.used)
		}
	}
	out.State = checks.Worst(states...)
	fmt.Println(out)
	fmt.Println("exit", out.State.ExitCode())
	// Output:
	// DISK WARNING - /var/my log is 85.5% full | /=42%;80;90;0;100 '/var/my log'=85.5%;80;90;0;100
	// 2 file systems checked
	// exit 1
}

func ExampleParseRange() {
	r, err := checks.ParseRange("10:20")
	fmt.Println(r.Alerts(9.9), r.Alerts(10), r.Alerts(20), r.Alerts(20.1), err)
	_, err = checks.ParseRange("20:10")
	fmt.Println(err)
	// Output:
	// true false false true <nil>
	// invalid: range "20:10": its start is after its end
}

func ExampleDecoder_Decode() {
	d := checks.Decoder{Root: "nagios"}
	payload := []byte(`[{"service": "disk", "exit_code": 2, "reason": "full | /=97%"}, {"service": "cpu", "exit_code": 2.5, "reason": ""}]`)
	for item := range d.Decode("nagios/web1", payload, time.Now(), "probe-7") {
		fmt.Println(item.Result.Object, item.Result.State, item.Result.Reason, item.Err)
	}
	// Output:
	// web1!disk CRITICAL full <nil>
	// web1!cpu OK  invalid: item 2: exit_code: 2.5 is not an integer
}
