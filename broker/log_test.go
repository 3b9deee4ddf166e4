package broker

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"checkbus/internal/mqtttest"
)

func TestWhatClientsCauseIsLoggedOnceAMinuteWithACount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s seldom
		var said []string
		for second := range 300 {
			if second < 150 { // two and a half minutes of it
				s.log(func(count int) {
					said = append(said, fmt.Sprintf("%d at %d: %d", second, int(time.Since(s.last).Seconds()), count))
				})
			}
			s.flush(false)
			time.Sleep(time.Second)
		}
		s.flush(true)
		if got := strings.Join(said, ", "); got != "0 at 0: 1, 60 at 0: 60, 120 at 0: 60, 149 at 0: 29" {
			t.Errorf("counts %s", got)
		}
	})
}

func TestWhatIsNotLoggedYetIsLoggedAtTheStop(t *testing.T) {
	g := start(t, func(c *Config) { c.MaxConnections = 1 })
	g.dial(mqtttest.Options{ID: "first"})
	for range 3 {
		mqtttest.Connect(t, g.addr, mqtttest.Options{ID: "next"})
	}
	g.counts(3, "connection refused, there are too many\"", func(s Stats) int64 { return s.Refused })
	g.stop()
	if !strings.Contains(g.log.String(), "count=2") {
		t.Errorf("the last two are missing:\n%s", g.log)
	}
}
