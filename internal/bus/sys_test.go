package bus

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"checkbus/checks"
	"checkbus/internal/realtest"
	"checkbus/internal/spool"
)

// says waits until the newest message on each topic is the one wanted.
func (b *bench) says(t *testing.T, want map[string]string) {
	t.Helper()
	realtest.Eventually(t, time.Minute, fmt.Sprint(want), func() bool {
		for topic, value := range want {
			if said := b.on(sysRoot + topic); len(said) == 0 || said[len(said)-1] != value {
				return false
			}
		}
		return true
	})
}

func TestFiguresFollowTheResults(t *testing.T) {
	c := newCore()
	c.knows = func(o checks.Object) bool { return o.Host != "nosuch" }
	c.verdict = func(r checks.Result) error {
		if r.Host == "refused" {
			return fmt.Errorf("%w: no", checks.ErrRejected)
		}
		return nil
	}
	b := start(t, t.TempDir(), Core{Name: "main", Sink: c})
	b.says(t, map[string]string{"results/received": "0", "spool/length": "0", "spool/bytes": "0", "spool/age": "0", "core/main/up": "1", "core/main/lag": "0"})
	for topic, payload := range map[string]string{
		"nagios/web1":    `[{"exit_code":0,"reason":"","time":2000},{"exit_code":0,"reason":"","time":1000},{"reason":""}]`,
		"nagios/nosuch":  `{"exit_code":0,"reason":""}`,
		"nagios/refused": `{"exit_code":0,"reason":"","time":` + fmt.Sprint(time.Now().Add(time.Hour).Unix()) + `}`,
	} {
		_ = b.offer(message(topic, payload)) // refusals are what is counted
	}
	b.Denied(message("nagios/other", `{}`))
	b.says(t, map[string]string{
		"results/received":                "5",
		"results/accepted":                "2",
		"results/rejected":                "5",
		"results/stale":                   "1",
		"results/duplicate":               "0",
		"results/clamped":                 "1",
		"results/rejected/invalid":        "1",
		"results/rejected/unknown_object": "1",
		"results/rejected/stale":          "1",
		"results/rejected/denied":         "1",
		"results/rejected/core":           "1",
		"results/rejected/full":           "0",
		"results/rejected/disk":           "0",
		"core/main/submitted":             "1",
		"core/main/rejected":              "1",
		"spool/length":                    "0",
		"core/main/lag":                   "0",
	})
}

func TestFiguresTellOfACoreThatIsDown(t *testing.T) {
	well, ill := newCore(), newCore()
	ill.down.Store(true)
	ill.verdict = func(checks.Result) error { return errors.New("unreachable") }
	b := start(t, t.TempDir(), Core{Name: "well", Sink: well}, Core{Name: "ill", Sink: ill})
	if err := b.offer(message("nagios/web1", `{"exit_code":0,"reason":""}`)); err != nil {
		t.Fatal(err)
	}
	b.says(t, map[string]string{"core/well/up": "1", "core/well/submitted": "1", "core/well/lag": "0",
		"core/ill/up": "0", "core/ill/submitted": "0", "spool/length": "1"})
	for _, topic := range []string{"core/ill/lag", "spool/age"} {
		realtest.Eventually(t, time.Minute, topic+" grows", func() bool {
			said := b.on(sysRoot + topic)
			return len(said) > 0 && said[len(said)-1] != "0"
		})
	}
	if b.Stats().Cores[1].Retried == 0 {
		t.Error("nothing was tried again")
	}
}

func TestFiguresArePublishedWhenTheyChange(t *testing.T) {
	b := start(t, t.TempDir())
	for n := range 3 {
		if err := b.offer(message("nagios/web1", `{"exit_code":0,"reason":""}`)); err != nil {
			t.Fatal(err)
		}
		b.says(t, map[string]string{"results/received": fmt.Sprint(n + 1)})
	}
	if said := strings.Join(b.on(sysRoot+"results/received"), " "); said != "0 1 2 3" && said != "1 2 3" {
		t.Errorf("received: %s", said)
	}
	if said := b.on(sysRoot + "results/clamped"); len(said) != 1 {
		t.Errorf("clamped: %s", said)
	}
}

func TestFiguresAreAges(t *testing.T) {
	now := time.Now()
	for name, tt := range map[string]struct {
		oldest time.Time
		want   uint64
	}{
		"nothing waits":     {time.Time{}, 0},
		"a moment":          {now.Add(-999 * time.Millisecond), 0},
		"an hour":           {now.Add(-time.Hour), 3600},
		"the clock is back": {now.Add(time.Hour), 0},
	} {
		waiting := spool.Backlog{Records: 1, Oldest: tt.oldest}
		for _, f := range figures(Stats{Spool: waiting, Cores: []CoreStats{{Name: "x", Waiting: waiting}}}, now) {
			if (f.name == "spool/age" || f.name == "core/x/lag") && f.value != tt.want {
				t.Errorf("%s: %s is %d, want %d", name, f.name, f.value, tt.want)
			}
		}
	}
}
