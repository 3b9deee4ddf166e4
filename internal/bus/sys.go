package bus

import (
	"context"
	"strconv"
	"strings"
	"time"

	"checkbus/checks"
)

// sysRoot is where the gateway publishes its figures.
const sysRoot = "$SYS/gateway/"

// publishSys publishes the figures that have changed, every SysInterval until
// ctx ends.
func (b *Bus) publishSys(ctx context.Context) error {
	if b.SysInterval <= 0 {
		return nil
	}
	tick := time.NewTicker(b.SysInterval)
	defer tick.Stop()
	said := map[string]uint64{}
	for {
		for _, f := range figures(b.Stats(), time.Now()) {
			if before, ok := said[f.name]; ok && before == f.value {
				continue
			}
			said[f.name] = f.value
			b.publishFigure(f)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (b *Bus) publishFigure(f figure) {
	err := b.Publish(sysRoot+f.name, strconv.AppendUint(nil, f.value, 10), true)
	if err != nil {
		b.Log.Warn("not published", "topic", sysRoot+f.name, "err", err)
	}
}

// A figure is a topic below $SYS/gateway and its value.
type figure struct {
	name  string
	value uint64
}

// figures are all topics below $SYS/gateway.
func figures(st Stats, now time.Time) []figure {
	all := []figure{
		{"results/received", st.Received},
		{"results/accepted", st.Accepted},
		{"results/rejected", st.RejectedInAll()},
		{"results/stale", st.Rejected[Stale]},
		{"results/duplicate", st.Duplicate},
		{"results/clamped", st.Clamped},
		{"events/published", st.Events},
		{"states/count", uint64(st.States.Count())},
		{"spool/length", uint64(st.Spool.Records)},
		{"spool/bytes", uint64(st.Spool.Bytes)},
		{"spool/age", age(st.Spool.Oldest, now)},
	}
	for c, n := range st.Rejected {
		all = append(all, figure{"results/rejected/" + Cause(c).String(), n})
	}
	for state, n := range st.States {
		all = append(all, figure{"states/" + strings.ToLower(checks.State(state).String()), uint64(n)})
	}
	for _, core := range st.Cores {
		at := "core/" + core.Name + "/"
		up := uint64(0)
		if core.Up {
			up = 1
		}
		all = append(all,
			figure{at + "up", up},
			figure{at + "submitted", core.Submitted},
			figure{at + "retried", core.Retried},
			figure{at + "rejected", core.Rejected},
			figure{at + "lag", age(core.Waiting.Oldest, now)},
		)
		if core.Feed {
			follows := uint64(0)
			if core.Follows {
				follows = 1
			}
			all = append(all, figure{at + "follows", follows})
		}
	}
	return all
}
