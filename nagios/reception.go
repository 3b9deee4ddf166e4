package nagios

import (
	"fmt"

	"checkbus/checks"
)

// A reception is which passive results the core takes, as its last status file
// says. It drops the others, with a word in its log at the most. They are handed
// over all the same: since that file was written, a command may have opened what
// it says is closed.
type reception struct {
	hosts, services bool // takes any of them
	closed          map[checks.Object]struct{}
}

// newReception reads the switches for all objects. In Nagios that for services
// is one for hosts, too (Nagios Core 4.4.6, base/commands.c,
// process_passive_host_check).
func newReception(p program, f format, closed map[checks.Object]struct{}) *reception {
	return &reception{hosts: p.hosts && (p.services || f.naemon), services: p.services, closed: closed}
}

// judge makes the verdict on results that were handed over and that the core
// drops.
func (r *reception) judge(results []checks.Result, verdicts []error) {
	if r == nil || r.hosts && r.services && len(r.closed) == 0 {
		return
	}
	for i, verdict := range verdicts {
		if verdict == nil {
			verdicts[i] = r.check(results[i].Object)
		}
	}
}

// check returns an error that wraps checks.ErrRejected when the core takes no
// results of o. Nothing is closed before a status file was read.
func (r *reception) check(o checks.Object) error {
	switch {
	case r == nil:
		return nil
	case o.IsHost() && !r.hosts:
		return fmt.Errorf("%w: nagios takes no passive results of hosts (accept_passive_host_checks, accept_passive_service_checks)", checks.ErrRejected)
	case !o.IsHost() && !r.services:
		return fmt.Errorf("%w: nagios takes no passive results of services (accept_passive_service_checks)", checks.ErrRejected)
	}
	if _, closed := r.closed[o]; closed {
		return fmt.Errorf("%w: nagios takes no passive results of %s (passive_checks_enabled)", checks.ErrRejected, o)
	}
	return nil
}
