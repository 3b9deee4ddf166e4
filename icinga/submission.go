package icinga

import (
	"context"
	"encoding/json"
	"net/http"

	"checkbus/checks"
)

// A submission is the body of process-check-result for one object. Icinga
// addresses by name: a filter would cost it a hundred times the CPU.
type submission struct {
	Host    string `json:"host,omitempty"`
	Service string `json:"service,omitempty"` // "host!service"

	ExitStatus int      `json:"exit_status"`
	Output     string   `json:"plugin_output"`
	Perfdata   []string `json:"performance_data,omitempty"`
	Source     string   `json:"check_source,omitempty"`
	// Unix seconds to the microsecond. Icinga orders by the start.
	Start float64 `json:"execution_start"`
	End   float64 `json:"execution_end"`
	TTL   float64 `json:"ttl,omitempty"` // seconds
}

func submissionOf(r *checks.Result) submission {
	at := float64(r.Executed.UnixMicro()) / 1e6
	s := submission{
		ExitStatus: r.State.ExitCode(),
		Output:     r.Reason,
		Perfdata:   checks.SplitPerfdata(r.Perfdata),
		Source:     r.Source,
		Start:      at,
		End:        at,
		TTL:        r.TTL.Seconds(),
	}
	if r.IsHost() {
		s.Host = r.Host
		s.ExitStatus = min(s.ExitStatus, 1) // Icinga finds out itself which hosts are unreachable
	} else {
		s.Service = r.Object.String()
	}
	return s
}

// submit offers r once. The error is that no answer came, so that r may have
// been taken or not.
func (c *client) submit(ctx context.Context, r *checks.Result) (outcome, string, error) {
	body, err := json.Marshal(submissionOf(r))
	if err != nil {
		return refused, err.Error(), nil
	}
	status, answer, err := c.do(ctx, http.MethodPost, "/v1/actions/process-check-result", body)
	if err != nil {
		return outage, "", err
	}
	what, why := judge(status, answer)
	return what, why, nil
}
