package broker

import (
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"checkbus/internal/mqtttest"
	"checkbus/internal/realtest"
)

func TestTwoGatewaysShareTheResultsOfAnOutsideBroker(t *testing.T) {
	const results = 2000
	outside := realtest.StartMosquitto(t, "max_queued_messages 0")
	share := func(s *Subscribe) { s.Share = "checkbus" }
	one, two := start(t, from(t, "mqtt://"+outside.Addr, share)), start(t, from(t, "mqtt://"+outside.Addr, share))
	one.subscribed()
	two.subscribed()
	publisher := mqtttest.Dial(t, outside.Addr, mqtttest.Options{ID: "host"})
	for i := 0; i < results; i += 100 {
		numbered(publisher, i, 100)
	}
	eventually(t, "all are acknowledged", func() bool {
		return one.outside.acknowledged.Load()+two.outside.acknowledged.Load() == results
	})
	seen := map[string]bool{}
	for _, g := range []*gateway{one, two} {
		n := int(g.outside.acknowledged.Load())
		if n < results/4 {
			t.Errorf("a gateway got %d of %d", n, results)
		}
		for _, p := range payloads(g.got(t, n)) {
			if seen[p] {
				t.Fatalf("%s came twice", p)
			}
			seen[p] = true
		}
	}
}

// TestAGatewaysPartWaitsForItAtTheOutsideBroker shows what a shared subscription
// means in Mosquitto: the part of a gateway that is away waits for it.
func TestAGatewaysPartWaitsForItAtTheOutsideBroker(t *testing.T) {
	outside := realtest.StartMosquitto(t, "max_queued_messages 0")
	share := func(s *Subscribe) { s.Share = "checkbus" }
	one := start(t, from(t, "mqtt://"+outside.Addr, share))
	dir := t.TempDir()
	stays := func(s *Subscribe) { s.Share, s.Dir = "checkbus", dir }
	two := start(t, from(t, "mqtt://"+outside.Addr, stays))
	one.subscribed()
	two.subscribed()
	two.stop()
	numbered(mqtttest.Dial(t, outside.Addr, mqtttest.Options{ID: "host"}), 0, 100)
	eventually(t, "the other took its part", func() bool { return one.outside.acknowledged.Load() >= 50 })
	two = start(t, from(t, "mqtt://"+outside.Addr, stays))
	eventually(t, "all are taken", func() bool {
		return one.outside.acknowledged.Load()+two.outside.acknowledged.Load() == 100
	})
}

func TestAnOutsideBrokerOverTLSWithPasswordAndCertificate(t *testing.T) {
	dir := t.TempDir()
	authority := realtest.NewAuthority(t, dir)
	cert, key := authority.Issue(t, dir, "emqx")
	mine, mineKey := authority.Issue(t, dir, "gateway")
	passwords, acl, secret := filepath.Join(dir, "passwd"), filepath.Join(dir, "acl"), filepath.Join(dir, "secret")
	if out, err := exec.Command(realtest.Need(t, "mosquitto_passwd"), "-c", "-b", passwords, "checkbus", "pass word").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for file, text := range map[string]string{acl: "topic readwrite nagios/#\nuser checkbus\ntopic readwrite #\n", secret: "wrong\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	secured := realtest.FreeAddr(t)
	_, port, _ := net.SplitHostPort(secured)
	outside := realtest.StartMosquitto(t, "acl_file "+acl, "password_file "+passwords,
		"listener "+port+" 127.0.0.1", "cafile "+authority.File, "certfile "+cert, "keyfile "+key, "require_certificate true")

	nobody := realtest.FreeAddr(t)
	g := start(t, from(t, "mqtts://"+nobody, func(s *Subscribe) {
		s.Address = append(s.Address, "mqtts://"+secured)
		s.CA, s.Cert, s.Key, s.ServerName = authority.File, mine, mineKey, "emqx"
		s.Username, s.PasswordFile = "checkbus", secret
	}))
	eventually(t, "the password is refused", func() bool { return strings.Contains(g.log.String(), "outside broker away") })
	if err := os.WriteFile(secret, []byte("pass word\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	g.subscribed()
	if n := strings.Count(g.log.String(), "outside broker"); n != 2 {
		t.Errorf("an outage is not two lines:\n%s", g.log.String())
	}
	if log := g.log.String(); strings.Contains(log, "pass word") || strings.Contains(log, "wrong") {
		t.Errorf("the log shows a password:\n%s", log)
	}
	numbered(mqtttest.Dial(t, outside.Addr, mqtttest.Options{ID: "host"}), 0, 10)
	g.got(t, 10)
}

// TestASubscriptionThatIsRefusedIsAnOutage has a broker that lets everybody in
// and grants nothing, as EMQX does; Mosquitto grants everything.
func TestASubscriptionThatIsRefusedIsAnOutage(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			for _, answer := range [][]byte{{mqtttest.CONNACK << 4, 2, 0, 0}, {mqtttest.SUBACK << 4, 3, 0, 1, 0x80}} {
				_, _ = nc.Read(make([]byte, 1024))
				_, _ = nc.Write(answer)
			}
		}
	}()
	g := start(t, from(t, "mqtt://"+ln.Addr().String()))
	eventually(t, "it is logged", func() bool { return strings.Contains(g.log.String(), "subscribe to nagios/#: refused with 0x80") })
}

func TestALeftSubscriptionIsEnded(t *testing.T) {
	outside := realtest.StartMosquitto(t)
	dir := t.TempDir()
	for _, share := range []string{"", "a", "b", ""} {
		g := start(t, from(t, "mqtt://"+outside.Addr, func(s *Subscribe) { s.Share, s.Dir = share, dir }))
		g.subscribed()
		g.stop()
	}
	g := start(t, from(t, "mqtt://"+outside.Addr, func(s *Subscribe) { s.Dir = dir }))
	g.subscribed()
	numbered(mqtttest.Dial(t, outside.Addr, mqtttest.Options{ID: "host"}), 0, 10)
	eventually(t, "they are acknowledged", func() bool { return g.outside.acknowledged.Load() >= 10 })
	if got := payloads(g.got(t, 10)); len(slices.Compact(got)) != 10 {
		t.Errorf("accepted %q", got)
	}
}

// TestMoreThanTheGatewayHoldsStaysWithTheOutsideBroker has more results waiting than the gateway
// holds, from a Mosquitto that sends all at once.
func TestMoreThanTheGatewayHoldsStaysWithTheOutsideBroker(t *testing.T) {
	const results = receiveMaximum + 500
	outside := realtest.StartMosquitto(t, "max_inflight_messages 0", "max_queued_messages 0")
	g := start(t, from(t, "mqtt://"+outside.Addr))
	g.subscribed()
	g.pause()
	publisher := mqtttest.Dial(t, outside.Addr, mqtttest.Options{ID: "host"})
	for i := 0; i < results; i += 100 {
		numbered(publisher, i, min(100, results-i))
	}
	eventually(t, "the connection is given up", func() bool { return !g.outside.up.Load() })
	if held := g.outside.in.held(); held != receiveMaximum {
		t.Errorf("%d are held, want %d", held, receiveMaximum)
	}
	g.release()
	eventually(t, "all are taken", func() bool { return g.outside.in.held() == 0 && g.outside.acknowledged.Load() >= results })
	for i, p := range payloads(g.got(t, results)) {
		if p != fmt.Sprint("number ", i) {
			t.Fatalf("result %d is %q", i, p)
		}
	}
}

func TestWhatIsPublishedWhileTheOutsideBrokerIsAwayIsBroughtUpToDate(t *testing.T) {
	outside := realtest.StartMosquitto(t, "max_queued_messages 0")
	g := start(t, from(t, "mqtt://"+outside.Addr))
	g.subscribed()
	g.tellRetained("checkbus/state/web1", "before")
	eventually(t, "it is there", func() bool { return g.outside.published.Load() == 1 })
	outside.Stop()
	for i := range mostWaiting + 10 {
		g.tell("checkbus/event/web1", fmt.Sprint(i))
	}
	for i := range 100 {
		g.tellRetained("checkbus/state/web2", fmt.Sprint("state ", i))
	}
	outside.Start() // without what it retained
	eventually(t, "all is published", func() bool { return g.outside.published.Load() == 1+mostWaiting+2 })
	if st := g.Stats().Subscribe; st.Dropped != 10 || st.Waiting != 0 || st.Connections != 2 {
		t.Errorf("figures are %+v, want 10 dropped", st)
	}
	watcher := mqtttest.Dial(t, outside.Addr, mqtttest.Options{ID: "watcher"})
	watcher.Subscribe("checkbus/state/#", 0)
	states := map[string]string{}
	for range 2 {
		p := watcher.Next(mqtttest.PUBLISH)
		states[p.Topic()] = p.Payload()
	}
	if states["checkbus/state/web1"] != "before" || states["checkbus/state/web2"] != "state 99" {
		t.Errorf("retained: %v", states)
	}
}

func TestAGatewayDoesNotSubscribeToItself(t *testing.T) {
	address := realtest.FreeAddr(t)
	g := start(t, from(t, "mqtt://"+address), func(c *Config) { c.Listeners[0].Address = address })
	eventually(t, "it is refused", func() bool { return strings.Contains(g.log.String(), "subscribes to itself") })
}

func TestFiguresOfTheOutsideBrokerArePublished(t *testing.T) {
	outside := realtest.StartMosquitto(t)
	g := start(t, from(t, "mqtt://"+outside.Addr), func(c *Config) { c.SysInterval = time.Second })
	g.subscribed()
	numbered(mqtttest.Dial(t, outside.Addr, mqtttest.Options{ID: "host"}), 0, 10)
	sub := g.dial(mqtttest.Options{ID: "watcher"})
	sub.Subscribe(subscribeRoot+"#", 0)
	want := map[string]string{
		"up": "1", "connections": "1", "received": "10", "redelivered": "0", "acknowledged": "10", "held": "0",
		"published": "0", "waiting": "0", "dropped": "0",
	}
	got := map[string]string{}
	for !maps.Equal(got, want) {
		p := sub.Next(mqtttest.PUBLISH)
		got[strings.TrimPrefix(p.Topic(), subscribeRoot)] = p.Payload()
	}
}

func TestMistakesOfAnOutsideBrokerAreNamedByTheirKey(t *testing.T) {
	tests := map[string]struct {
		adapt func(*Subscribe)
		want  string // "" is no mistake
	}{
		"the defaults":       {func(*Subscribe) {}, ""},
		"all":                {func(s *Subscribe) { s.Share, s.ClientID, s.QoS, s.PublishPrefix = "a b", "x", 2, "dc1/" }, ""},
		"no address":         {func(s *Subscribe) { s.Address = nil }, "subscribe.address: required"},
		"a share of levels":  {func(s *Subscribe) { s.Share = "a/b" }, "subscribe.share: "},
		"QoS 0":              {func(s *Subscribe) { s.QoS = 0 }, "subscribe.qos: 0 is neither 1 nor 2"},
		"a wildcard":         {func(s *Subscribe) { s.PublishPrefix = "+/" }, "subscribe.publish_prefix: "},
		"a dollar":           {func(s *Subscribe) { s.PublishPrefix = "$SYS/" }, "subscribe.publish_prefix: "},
		"a prefix of naught": {func(s *Subscribe) { s.Publish, s.PublishPrefix = false, "a/" }, "subscribe.publish_prefix: needs publish"},
		"below the results":  {func(s *Subscribe) { s.PublishPrefix = "nagios/" }, "subscribe.publish_prefix: what is published"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := DefaultSubscribe()
			s.Address = []string{"mqtt://broker"}
			tt.adapt(&s)
			err := s.Validate()
			if err == nil {
				err = s.CheckRoot("nagios")
			}
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("Validate() = %v, want %q", err, tt.want)
			}
		})
	}
}

func TestTheClientIdentifierIsMadeUpOnceAndKept(t *testing.T) {
	dir := t.TempDir()
	first, err := readMembership(dir, "")
	if err != nil || len(first.ClientID) > 23 {
		t.Fatalf("%+v, %v", first, err)
	}
	first.Filter = "nagios/#"
	if err := first.save(dir); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]membership{"": first, first.ClientID: first, "mine": {ClientID: "mine"}} {
		if got, err := readMembership(dir, id); got != want || err != nil {
			t.Errorf("with client_id %q: %+v, %v, want %+v", id, got, err, want)
		}
	}
	if other, err := readMembership(t.TempDir(), ""); err != nil || other.ClientID == first.ClientID {
		t.Errorf("two gateways are both %q (%v)", other.ClientID, err)
	}
	if err := os.WriteFile(membershipFile(dir), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readMembership(dir, ""); err == nil || !strings.Contains(err.Error(), membershipFile(dir)) {
		t.Errorf("a damaged file: %v", err)
	}
}
