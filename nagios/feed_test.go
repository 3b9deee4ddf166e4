package nagios

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"checkbus/checks"
	"checkbus/internal/realtest"
)

// submit hands over one result and returns it.
func submit(t testing.TB, s *Sink, r checks.Result) checks.Result {
	t.Helper()
	r.Seq = uint64(time.Now().UnixNano())
	r.Executed = time.Now().Truncate(time.Microsecond)
	r.Time = r.Executed
	wantTaken(t, s.Submit(t.Context(), []checks.Result{r}))
	return r
}

func service(name string) checks.Object { return checks.Object{Host: "h0000", Service: name} }

func TestFeedFollowsWhatTheCoreDecides(t *testing.T) {
	n := realtest.StartNagios(t, realtest.NagiosOptions{
		Hosts: 1, Services: 2,
		Includes: []string{objectFile(t, serviceWith("soft", "max_check_attempts 3")+serviceWith("down")+serviceWith("ack")+serviceWith("sticky")+
			serviceWith("flap", "flap_detection_enabled 1"))},
		Config: []string{"enable_flap_detection=1", "low_service_flap_threshold=10", "high_service_flap_threshold=20", "log_service_retries=1"},
	})
	s := sinkFor(t, n, withFeed(n))
	settle(t, s)
	w := follow(t, s)
	result := func(name string, state checks.State, reason string) checks.Result {
		return submit(t, s, checks.Result{Object: service(name), State: state, Reason: reason})
	}

	t.Run("pending, then known with all that the result said", func(t *testing.T) {
		if got, _ := w.get(service("s000")); got != (checks.Status{Object: service("s000"), State: checks.Pending}) {
			t.Errorf("before any result: %+v", got)
		}
		n.NextStatus() // one that came before Submit knows of the result would tell its time, to the second
		r := submit(t, s, checks.Result{Object: service("s000"), State: checks.OK, Reason: "fine; really\nline 2\n  line 3", Perfdata: "a=1 b=2"})
		want := checks.Status{
			Object: r.Object, State: checks.OK, Attempt: 1, Reason: "fine: really\nline 2\n  line 3", Perfdata: r.Perfdata, Time: r.Time, Since: r.Time,
		}
		w.await(t, r.Object, "OK", func(s checks.Status) bool { return s == want })
		r2 := submit(t, s, checks.Result{Object: service("s000"), State: checks.OK, Reason: "better", Perfdata: "a=3"})
		want.Reason, want.Perfdata, want.Time = r2.Reason, r2.Perfdata, r2.Time
		w.await(t, r.Object, "better", func(s checks.Status) bool { return s == want })
	})
	t.Run("a change comes once, with all that the result said", func(t *testing.T) {
		r := submit(t, s, checks.Result{Object: service("s001"), State: checks.Critical, Reason: "gone\nC:\\new", Perfdata: "a=1"})
		got := w.await(t, r.Object, "critical", func(s checks.Status) bool { return s.State == checks.Critical })
		if want := (checks.Status{Object: r.Object, State: checks.Critical, Attempt: 1, Reason: r.Reason, Perfdata: r.Perfdata, Time: r.Time, Since: r.Time}); got != want {
			t.Errorf("told %+v\nwant %+v", got, want)
		}
	})
	t.Run("soft becomes hard, and recovers", func(t *testing.T) {
		first := result("soft", checks.Critical, "1")
		result("soft", checks.Critical, "2")
		result("soft", checks.Critical, "3")
		got := w.await(t, service("soft"), "hard", func(s checks.Status) bool { return s.Attempt == 3 && !s.Soft })
		if !got.Since.Equal(first.Time) {
			t.Errorf("since %v, want %v", got.Since, first.Time)
		}
		result("soft", checks.OK, "4")
		w.await(t, service("soft"), "OK", func(s checks.Status) bool { return s.State == checks.OK && !s.Soft && s.Reason == "4" })
		want := []string{"PENDING;HARD;0", "CRITICAL;SOFT;1", "CRITICAL;SOFT;2", "CRITICAL;HARD;3", "OK;HARD;3"}
		// The next status file says that the attempts begin anew.
		if got := slices.DeleteFunc(w.verdicts(service("soft")), func(v string) bool { return v == "OK;HARD;1" }); !slices.Equal(got, want) {
			t.Errorf("told %v\nwant %v", got, want)
		}
	})
	t.Run("downtime begins and ends", func(t *testing.T) {
		now := time.Now().Unix()
		n.Command("SCHEDULE_SVC_DOWNTIME;h0000;down;%d;%d;1;0;3600;me;why", now-1, now+3600)
		w.await(t, service("down"), "in downtime", func(s checks.Status) bool { return s.InDowntime })
		n.Command("DEL_SVC_DOWNTIME;1")
		w.await(t, service("down"), "out of downtime", func(s checks.Status) bool { return !s.InDowntime })
	})
	t.Run("acknowledgements", func(t *testing.T) {
		acknowledged := func(s checks.Status) bool { return s.Acknowledged }
		result("ack", checks.Warning, "hm")
		n.Command("ACKNOWLEDGE_SVC_PROBLEM;h0000;ack;1;0;0;me;on it")
		w.await(t, service("ack"), "acknowledged", acknowledged)
		n.Command("REMOVE_SVC_ACKNOWLEDGEMENT;h0000;ack")
		w.await(t, service("ack"), "not acknowledged", func(s checks.Status) bool { return !s.Acknowledged })
		n.Command("ACKNOWLEDGE_SVC_PROBLEM;h0000;ack;1;0;0;me;again")
		w.await(t, service("ack"), "acknowledged", acknowledged)
		result("ack", checks.Critical, "worse")
		if got := w.await(t, service("ack"), "worse", func(s checks.Status) bool { return s.State == checks.Critical }); got.Acknowledged {
			t.Error("the acknowledgement outlived another problem")
		}
		result("sticky", checks.Warning, "hm")
		n.Command("ACKNOWLEDGE_SVC_PROBLEM;h0000;sticky;2;0;0;me;on it")
		w.await(t, service("sticky"), "acknowledged", acknowledged)
		result("sticky", checks.Critical, "worse")
		if got := w.await(t, service("sticky"), "worse", func(s checks.Status) bool { return s.State == checks.Critical }); !got.Acknowledged {
			t.Error("a sticky acknowledgement did not outlive another problem")
		}
		result("sticky", checks.OK, "well")
		if got := w.await(t, service("sticky"), "OK", func(s checks.Status) bool { return s.State == checks.OK }); got.Acknowledged {
			t.Error("a sticky acknowledgement outlived the recovery")
		}
	})
	t.Run("flapping", func(t *testing.T) {
		for i := range 20 {
			result("flap", checks.State(i%2*2), fmt.Sprint("turn ", i))
		}
		w.await(t, service("flap"), "flapping", func(s checks.Status) bool { return s.Flapping })
		n.Command("DISABLE_SVC_FLAP_DETECTION;h0000;flap")
		w.await(t, service("flap"), "no longer flapping", func(s checks.Status) bool { return !s.Flapping })
	})
	t.Run("host down", func(t *testing.T) {
		host := checks.Object{Host: "h0000"}
		r := submit(t, s, checks.Result{Object: host, State: checks.Down, Reason: "no answer", Perfdata: "rta=0"})
		w.await(t, host, "down", func(s checks.Status) bool {
			return s == checks.Status{Object: host, State: checks.Down, Attempt: 1, Reason: r.Reason, Perfdata: r.Perfdata, Time: r.Time, Since: r.Time}
		})
		result("s001", checks.OK, "alone")
		result("soft", checks.Critical, "host is down")
		w.await(t, service("soft"), "critical", func(s checks.Status) bool { return s.State == checks.Critical })
	})
	agree(t, n, w)
	for _, name := range []string{"s000", "s001", "soft", "down", "ack", "sticky", "flap", ""} {
		o := service(name)
		told := w.verdicts(o)
		for i, v := range logged(n, o) {
			at := slices.Index(told, v)
			if at < 0 {
				t.Errorf("%v: %s, number %d in the log, was not told next: %v", o, v, i, w.verdicts(o))
				break
			}
			told = told[at+1:]
		}
	}
}
