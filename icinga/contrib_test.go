package icinga

import (
	"path/filepath"
	"testing"

	"checkbus/checks"
	"checkbus/internal/realtest"
)

func TestTheContributedConfigurationIsValid(t *testing.T) {
	example, err := filepath.Abs("../contrib/icinga2/example.conf")
	if err != nil {
		t.Fatal(err)
	}
	ic := realtest.StartIcinga(t, realtest.IcingaOptions{Config: `include "` + example + `"`})
	if err := ic.Validate(); err != nil {
		t.Fatal(err)
	}
	g := newGateway(t, configOf(ic))
	g.start()
	rejected := g.deliver(
		checks.Result{Object: checks.Object{Host: "web1"}, State: checks.Up},
		checks.Result{Object: service("disk")},
		checks.Result{Object: service("backup")},
	)
	if rejected != nil {
		t.Fatal(rejected)
	}
	g.verify(ic)
}
