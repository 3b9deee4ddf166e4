package realtest

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"checkbus/checks"
)

// A NagiosStatus is what the status file says of one object, as it stands
// there: with newlines in long output written \n.
type NagiosStatus struct {
	State      int // -1 before any check
	Output     string
	LongOutput string
	Perfdata   string
	LastCheck  int64 // Unix seconds; 0 before any check

	Soft    bool
	Attempt int // 0 before any check

	Acknowledged, InDowntime, Flapping bool
}

// Status reads the status file. It is at most a second or two behind.
func (n *Nagios) Status() map[checks.Object]NagiosStatus {
	n.t.Helper()
	f, err := os.Open(n.StatusFile)
	if err != nil {
		if os.IsNotExist(err) {
			return nil
		}
		n.t.Fatal(err)
	}
	defer f.Close()
	status, err := parseStatus(f)
	if err != nil {
		n.t.Fatal(err)
	}
	return status
}

func parseStatus(r io.Reader) (map[checks.Object]NagiosStatus, error) {
	status := make(map[checks.Object]NagiosStatus)
	var object checks.Object
	var s NagiosStatus
	in := false
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		line := strings.TrimPrefix(lines.Text(), "\t")
		switch {
		case line == "hoststatus {" || line == "servicestatus {":
			object, s, in = checks.Object{}, NagiosStatus{}, true
		case line == "}" && in:
			if s.LastCheck == 0 {
				s.State, s.Attempt = -1, 0
			}
			status[object], in = s, false
		}
		key, value, found := strings.Cut(line, "=")
		if !found || !in {
			continue
		}
		var err error
		switch key {
		case "host_name":
			object.Host = value
		case "service_description":
			object.Service = value
		case "current_state":
			s.State, err = strconv.Atoi(value)
		case "plugin_output":
			s.Output = value
		case "long_plugin_output":
			s.LongOutput = value
		case "performance_data":
			s.Perfdata = value
		case "last_check":
			s.LastCheck, err = strconv.ParseInt(value, 10, 64)
		case "state_type":
			s.Soft = value == "0"
		case "current_attempt":
			s.Attempt, err = strconv.Atoi(value)
		case "problem_has_been_acknowledged":
			s.Acknowledged = value == "1"
		case "scheduled_downtime_depth":
			s.InDowntime = value != "0"
		case "is_flapping":
			s.Flapping = value == "1"
		}
		if err != nil {
			return nil, fmt.Errorf("status file: %s: %w", key, err)
		}
	}
	return status, lines.Err()
}
