package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"checkbus/checks"
	"checkbus/internal/mqtttest"
	"checkbus/internal/realtest"
)

// quotaExceeded is how MQTT 5 says that there is no room (MQTT 5, 3.4.2.1).
const quotaExceeded = 0x97

// A smallDisk is a file system of its own that can be filled.
type smallDisk struct {
	t   *testing.T
	dir string
}

// mountSmallDisk skips the test where nobody may mount.
func mountSmallDisk(t *testing.T, size string) *smallDisk {
	t.Helper()
	d := &smallDisk{t: t, dir: t.TempDir()}
	err := syscall.Mount("tmpfs", d.dir, "tmpfs", 0, "size="+size)
	if errors.Is(err, syscall.EPERM) {
		t.Skip("a full disk is not tested: mounting a tmpfs takes root")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(d.dir, 0); err != nil {
			t.Error(err)
		}
	})
	return d
}

// fill leaves so many bytes free.
func (d *smallDisk) fill(leave uint64) {
	d.t.Helper()
	var st syscall.Statfs_t
	if err := syscall.Statfs(d.dir, &st); err != nil {
		d.t.Fatal(err)
	}
	ballast, err := os.OpenFile(filepath.Join(d.dir, "ballast"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer ballast.Close()
	if free := st.Bavail * uint64(st.Bsize); free > leave {
		_, err = ballast.Write(make([]byte, free-leave))
	}
	if err != nil && !errors.Is(err, syscall.ENOSPC) {
		d.t.Fatal(err)
	}
}

// free takes what fill wrote away.
func (d *smallDisk) free() {
	d.t.Helper()
	if err := os.Remove(filepath.Join(d.dir, "ballast")); err != nil {
		d.t.Fatal(err)
	}
}

// refusesAloud checks that a result is refused because there is no room, as
// far as each version of MQTT can say so.
func (g *gateway) refusesAloud() {
	g.t.Helper()
	m := mqtttest.Message{Topic: "nagios/h0000/s000", Payload: numberedPayload(0), QoS: 1, ID: 1}
	c := mqtttest.Dial(g.t, g.addr, mqtttest.Options{ID: "five", V5: true})
	c.Publish(m)
	if ack := c.Acked(mqtttest.PUBACK, m.ID); ack.Code() != quotaExceeded || !strings.Contains(ack.Reason(), "spool full") {
		g.t.Errorf("MQTT 5 is answered %#x %q, want %#x", ack.Code(), ack.Reason(), quotaExceeded)
	}
	c.Disconnect()
	c = mqtttest.Dial(g.t, g.addr, mqtttest.Options{ID: "three"})
	c.Publish(m)
	if p, err := c.Read(); err == nil {
		g.t.Errorf("MQTT 3.1.1 is answered %v, want the end of the connection", p)
	}
}

func TestAFullDiskRefusesAndLosesNothing(t *testing.T) {
	t.Parallel()
	const reserve = 64 << 20 // what the spool leaves free
	disk := mountSmallDisk(t, "160m")
	objects := numberedObjects(5, 19)
	n := realtest.StartNagios(t, realtest.NagiosOptions{Hosts: 5, Services: 19})
	g := prepareGateway(t, filepath.Join(disk.dir, "data"), nagiosTable(n))
	g.start()
	sent := make(map[checks.Object]int)
	publish := func() *stream {
		s := startStream(t, g.addr, objects, sent)
		s.more(500)
		s.finish()
		return s
	}
	account := newNagiosAccount(t, n)
	account.settle(publish())

	n.Stop()
	backlog := publish() // waits on the disk for Nagios
	disk.fill(reserve / 2)
	g.refusesAloud()
	if rejected := g.command("rejected"); strings.Count(rejected, "spool full") != 2 {
		t.Errorf("checkbus rejected says:\n%s\nwant two refusals of a full spool", rejected)
	}
	disk.fill(0)
	g.refusesAloud()
	disk.free()
	disk.fill(1 << 20) // what is handed over is noted on the disk; without any room that may wait
	n.Start()
	if repeats := account.settle(backlog); repeats > 0 {
		t.Errorf("full disk: %d results were processed twice", repeats)
	}
	g.refusesAloud()

	disk.free()
	if repeats := account.settle(publish()); repeats > 0 {
		t.Errorf("room again: %d results were processed twice", repeats)
	}
	disk.fill(0)
	g.kill()
	disk.free()
	g.start()
	if repeats := account.settle(publish()); repeats > 0 {
		t.Errorf("killed on a full disk: %d results were processed twice", repeats)
	}
}

func TestAFullSpoolRefusesAndLosesNothing(t *testing.T) {
	t.Parallel()
	const services = 100
	n := realtest.PrepareNagios(t, realtest.NagiosOptions{Hosts: 1, Services: services})
	g := startGateway(t, nagiosTable(n)+"[spool]\nmax_size = \"1MiB\"\n")
	c := mqtttest.Dial(t, g.addr, mqtttest.Options{ID: "filler", V5: true})
	reason := strings.Repeat("x", 16<<10)
	acked := make(map[checks.Object]bool)
	for i := range services {
		o := checks.Object{Host: "h0000", Service: fmt.Sprintf("s%03d", i)}
		m := mqtttest.Message{Topic: o.Topic("nagios"), Payload: fmt.Sprintf(`{"exit_code":1,"reason":%q}`, reason), QoS: 1, ID: uint16(i + 1)}
		c.Publish(m)
		switch ack := c.Acked(mqtttest.PUBACK, m.ID); ack.Code() {
		case 0:
			acked[o] = true
		case quotaExceeded:
		default:
			t.Fatalf("%v is answered %#x %q", o, ack.Code(), ack.Reason())
		}
	}
	if full := 1 << 20 / len(reason); len(acked) < full/2 || len(acked) > full {
		t.Errorf("%d results of 16 KiB were taken, want nearly %d", len(acked), full)
	}
	c.Publish(mqtttest.Message{Topic: "nagios/h0000/s000", Payload: fmt.Sprintf(`{"exit_code":1,"reason":%q}`, reason), QoS: 1, ID: 1000})
	if ack := c.Acked(mqtttest.PUBACK, 1000); ack.Code() != quotaExceeded {
		t.Errorf("a full spool answers %#x %q, want %#x", ack.Code(), ack.Reason(), quotaExceeded)
	}

	n.Start()
	n.WaitStatus("show what was acknowledged, and nothing else", func(m map[checks.Object]realtest.NagiosStatus) bool {
		for o, s := range m {
			if !o.IsHost() && (s.Output == reason) != acked[o] {
				return false
			}
		}
		return len(m) > services
	})
	g.publish("nagios/h0000/s000", `{"exit_code":0,"reason":"room again"}`)
	n.WaitStatus("take results again", func(m map[checks.Object]realtest.NagiosStatus) bool {
		return m[checks.Object{Host: "h0000", Service: "s000"}].Output == "room again"
	})
}
