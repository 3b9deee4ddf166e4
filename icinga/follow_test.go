package icinga

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"checkbus/checks"
	"checkbus/internal/realtest"
)

// life is a configuration in which an object can go through all there is.
const life = `
object Host "parent" { import "checkbus-host" }
object Host "child" { import "checkbus-host" }
object Service "on-child" { import "checkbus-service"; host_name = "child" }
object Dependency "path" { parent_host_name = "parent"; child_host_name = "child"; disable_checks = false }
object Service "retried" { import "checkbus-service"; host_name = "web1"; max_check_attempts = 3 }
object Service "flapper" { import "checkbus-service"; host_name = "web1"; enable_flapping = true }
object CheckCommand "script" { command = [ "/bin/sh", "-c", "cat %[1]s; exit $$(cut -c1 %[1]s)" ] }
object Service "active" {
  check_command = "script"
  host_name = "web1"
  check_interval = 1s
  retry_interval = 1h
  max_check_attempts = 2
}
object Service "built in" { check_command = "random"; host_name = "web1"; check_interval = 1h }
`

func TestEachStateOfAnObjectIsTold(t *testing.T) {
	script := filepath.Join(t.TempDir(), "active")
	say := func(text string) { // at once: a check may be reading it
		t.Helper()
		if err := errors.Join(os.WriteFile(script+".new", []byte(text), 0o644), os.Rename(script+".new", script)); err != nil {
			t.Fatal(err)
		}
	}
	say("0 fine | a=1 b=2;3;4")
	disk := service("disk")
	ic := realtest.StartIcinga(t, realtest.IcingaOptions{Objects: []checks.Object{disk}, Config: fmt.Sprintf(life, script)})
	g := newGateway(t, configOf(ic))
	w, _ := g.follow()
	g.start()
	w.ready(1)
	report := func(o checks.Object, states ...checks.State) {
		t.Helper()
		for i, state := range states {
			r := checks.Result{Object: o, State: state, Reason: fmt.Sprintf("%v %d\nmore", state, i), Perfdata: "'a b'=1 c=2;3;4"}
			if rejected := g.deliver(r); rejected != nil {
				t.Fatal(rejected)
			}
		}
	}

	t.Run("soft, hard and recovered", func(t *testing.T) {
		o := service("retried")
		if s, _ := w.state(o); s.State != checks.Pending || s.Attempt != 0 || !s.Time.IsZero() {
			t.Errorf("before its first result: %+v", s)
		}
		report(o, checks.OK, checks.OK, checks.Critical, checks.Critical, checks.Critical, checks.Critical, checks.OK, checks.Warning, checks.OK)
		w.until(o, "recovered", func(s checks.Status) bool { return s.Reason == "OK 8\nmore" })
		var got []string
		for _, s := range w.history(o) {
			got = append(got, fmt.Sprintf("%v %t %d", s.State, s.Soft, s.Attempt))
		}
		want := []string{"CRITICAL true 1", "CRITICAL true 2", "CRITICAL false 1", "CRITICAL false 1", "OK false 1", "WARNING true 1", "OK false 1"}
		for len(got) > 0 && got[0] == "OK false 1" {
			got = got[1:] // two that change nothing may be told as one
		}
		if strings.Join(got, ", ") != strings.Join(want, ", ") {
			t.Errorf("told\n%q, want\n%q", got, want)
		}
		w.verify(ic)
	})
	t.Run("acknowledged", func(t *testing.T) {
		report(disk, checks.Critical)
		target := map[string]any{"type": "Service", "service": disk.String(), "author": "anna", "comment": "on it"}
		ic.Do("POST", "/v1/actions/acknowledge-problem", target)
		w.until(disk, "acknowledged", func(s checks.Status) bool { return s.Acknowledged })
		ic.Do("POST", "/v1/actions/remove-acknowledgement", target)
		w.until(disk, "not acknowledged", func(s checks.Status) bool { return !s.Acknowledged })
		acknowledged := false
		for while := time.Second; !acknowledged; while *= 2 { // a busy machine may be too late to see it
			expiry := time.Now().Add(while)
			target["expiry"] = float64(expiry.UnixMilli()) / 1000
			ic.Do("POST", "/v1/actions/acknowledge-problem", target)
			realtest.Eventually(t, time.Minute, "the acknowledgement or its end", func() bool {
				s, _ := w.state(disk)
				acknowledged = s.Acknowledged
				return acknowledged || time.Now().After(expiry)
			})
		}
		w.until(disk, "not acknowledged any more", func(s checks.Status) bool { return !s.Acknowledged })
		target["sticky"] = true
		delete(target, "expiry")
		ic.Do("POST", "/v1/actions/acknowledge-problem", target)
		w.until(disk, "acknowledged until it recovers", func(s checks.Status) bool { return s.Acknowledged })
		report(disk, checks.OK)
		w.until(disk, "well", func(s checks.Status) bool { return s.State == checks.OK && !s.Acknowledged })
		w.verify(ic)
	})
	t.Run("in downtime", func(t *testing.T) {
		now := float64(time.Now().Unix())
		downtime := map[string]any{"type": "Service", "service": disk.String(), "author": "anna", "comment": "disk swap"}
		ic.Do("POST", "/v1/actions/schedule-downtime", with(downtime, "start_time", now-10, "end_time", now+3600, "fixed", true))
		w.until(disk, "in downtime", func(s checks.Status) bool { return s.InDowntime })
		report(disk, checks.OK, checks.Critical)
		w.until(disk, "critical in downtime", func(s checks.Status) bool { return s.InDowntime && s.State == checks.Critical })
		ic.Do("POST", "/v1/actions/remove-downtime", downtime)
		w.until(disk, "out of it", func(s checks.Status) bool { return !s.InDowntime })
		report(disk, checks.OK)
		ic.Do("POST", "/v1/actions/schedule-downtime", with(downtime, "start_time", now-10, "end_time", now+3600, "fixed", false, "duration", 600))
		report(disk, checks.Critical)
		w.until(disk, "in a flexible downtime", func(s checks.Status) bool { return s.InDowntime })
		w.verify(ic)
	})
	t.Run("flapping", func(t *testing.T) {
		o := service("flapper")
		for range 10 {
			report(o, checks.OK, checks.Critical)
			report(disk, checks.OK, checks.Critical) // for which it is not enabled
		}
		w.until(o, "flapping", func(s checks.Status) bool { return s.Flapping })
		for range 12 {
			report(o, checks.OK, checks.OK)
		}
		w.until(o, "calm", func(s checks.Status) bool { return !s.Flapping })
		w.verify(ic)
	})
	t.Run("a host and what is behind it", func(t *testing.T) {
		parent, child := checks.Object{Host: "parent"}, checks.Object{Host: "child"}
		report(child, checks.Up)
		report(parent, checks.Up)
		w.until(child, "up", func(s checks.Status) bool { return s.State == checks.Up })
		report(parent, checks.Down)
		w.until(parent, "down", func(s checks.Status) bool { return s.State == checks.Down && s.Attempt == 1 })
		report(child, checks.Down)
		report(checks.Object{Host: "child", Service: "on-child"}, checks.Critical)
		w.until(child, "unreachable", func(s checks.Status) bool { return s.State == checks.Unreachable })
		w.verify(ic)
		report(parent, checks.Up)
		report(child, checks.Up)
		w.until(child, "up again", func(s checks.Status) bool { return s.State == checks.Up })
		w.verify(ic)
	})
	t.Run("checked actively", func(t *testing.T) {
		o := service("active")
		checkNow := func(o checks.Object) {
			t.Helper()
			ic.Do("POST", "/v1/actions/reschedule-check", map[string]any{"type": "Service", "service": o.String(), "force": true})
		}
		w.until(o, "fine", func(s checks.Status) bool {
			return s.State == checks.OK && s.Reason == "0 fine " && s.Perfdata == "a=1 b=2;3;4"
		})
		say("2 broke")
		// Icinga may tell of it seconds later.
		w.until(o, "softly critical", func(s checks.Status) bool { return s.State == checks.Critical && s.Soft })
		checkNow(o)
		w.until(o, "critical", func(s checks.Status) bool { return s.State == checks.Critical && !s.Soft })
		soft := 0
		for _, s := range w.history(o) {
			if s.State == checks.Critical && s.Soft {
				soft++
			}
		}
		if soft != 1 {
			t.Errorf("%d soft states told, want 1", soft)
		}
		builtIn := service("built in")
		checkNow(builtIn)
		w.until(builtIn, "checked", func(s checks.Status) bool {
			items, err := checks.ParsePerfdata(s.Perfdata)
			return err == nil && len(items) > 1 && items[0].Label != ""
		})
	})
	t.Run("created and deleted", func(t *testing.T) {
		o := service("passing")
		ic.Create(o)
		w.until(o, "pending", func(s checks.Status) bool { return s.State == checks.Pending })
		report(o, checks.Warning)
		w.until(o, "warning", func(s checks.Status) bool { return s.State == checks.Warning })
		ic.Delete(o)
		realtest.Eventually(t, time.Minute, "the object to be gone", func() bool { _, ok := w.state(o); return !ok })
		w.mu.Lock()
		defer w.mu.Unlock()
		if n := w.lost[o]; n != 1 {
			t.Errorf("gone %d times", n)
		}
	})
	t.Run("in a core that restarts", func(t *testing.T) {
		ic.Configure(realtest.IcingaOptions{Objects: []checks.Object{disk, service("new")}})
		ic.Reload()
		w.ready(2)
		w.verify(ic)
		report(disk, checks.Warning)
		ic.Kill()
		ic.Start()
		w.ready(3)
		w.until(disk, "what it was", func(s checks.Status) bool { return s.State == checks.Warning })
		w.verify(ic)
	})
}

// with adds names and values to a copy of m.
func with(m map[string]any, more ...any) map[string]any {
	all := make(map[string]any)
	for name, value := range m {
		all[name] = value
	}
	for i := 0; i < len(more); i += 2 {
		all[more[i].(string)] = more[i+1]
	}
	return all
}
