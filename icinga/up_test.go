package icinga

import (
	"testing"
	"time"

	"checkbus/internal/realtest"
)

func TestUpFollowsIcinga(t *testing.T) {
	ic := realtest.StartIcinga(t, realtest.IcingaOptions{})
	g := newGateway(t, configOf(ic))
	if g.Up() {
		t.Error("up before anybody looked")
	}
	g.start()
	realtest.Eventually(t, time.Minute, "icinga is up", g.Up)
	ic.Stop()
	realtest.Eventually(t, time.Minute, "icinga is down", func() bool { return !g.Up() })
	ic.Start()
	realtest.Eventually(t, time.Minute, "icinga is up again", g.Up)
}
