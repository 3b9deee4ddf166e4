package broker

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestWhatClientsCauseIsLoggedOnceAMinuteWithACount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s seldom
		var said []string
		for range 150 { // two and a half minutes
			if s.now() {
				said = append(said, fmt.Sprint(s.count()))
			}
			time.Sleep(time.Second)
		}
		if got := fmt.Sprint(said); got != "[1 60 60]" {
			t.Errorf("counts %s, want [1 60 60]", got)
		}
	})
}
