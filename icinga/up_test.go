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
	realtest.Eventually(t, 30*time.Second, "icinga is up", g.Up)
	ic.Stop()
	realtest.Eventually(t, 30*time.Second, "icinga is down", func() bool { return !g.Up() })
	ic.Start()
	realtest.Eventually(t, 30*time.Second, "icinga is up again", g.Up)
}
