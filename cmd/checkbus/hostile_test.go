package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"checkbus/checks"
	"checkbus/internal/bus"
	"checkbus/internal/mqtttest"
	"checkbus/internal/realtest"
)

// Reason codes of MQTT 5 (2.4).
const (
	implementationError  = 0x83
	notAuthorized        = 0x87
	topicNameInvalid     = 0x90
	packetTooLarge       = 0x95
	payloadFormatInvalid = 0x99
)

// memoryBound is how much memory strangers may make the gateway use, in bytes.
// The race detector takes several times as much.
func memoryBound() int64 {
	if underRace() {
		return 1 << 30
	}
	return 300 << 20
}

// TestEveryRefusalIsToldToThePublisher sends what is refused, over both
// versions of MQTT. Version 5 gets a code and a reason, version 3.1.1 an
// acknowledgement; both have it on checkbus/rejected/<client> and in
// "checkbus rejected", and nobody else gets the message.
func TestEveryRefusalIsToldToThePublisher(t *testing.T) {
	t.Parallel()
	const sound = `{"exit_code":0,"reason":"x"}`
	with := func(fields string) string { return `{"exit_code":0,"reason":"x",` + fields + `}` }
	tests := map[string]struct {
		topic, payload string
		code           byte
		reason         string // a part of it
	}{
		"no JSON":                    {"nagios/web1/disk", "disk full", payloadFormatInvalid, "not JSON"},
		"empty payload":              {"nagios/web1/disk", "", payloadFormatInvalid, "payload: empty"},
		"blank payload":              {"nagios/web1/disk", " \n", payloadFormatInvalid, "payload: empty"},
		"empty array":                {"nagios/web1/disk", "[]", payloadFormatInvalid, "payload: an empty array"},
		"a number":                   {"nagios/web1/disk", "2", payloadFormatInvalid, "object"},
		"truncated":                  {"nagios/web1/disk", `{"exit_code":0,"rea`, payloadFormatInvalid, "not JSON"},
		"more behind it":             {"nagios/web1/disk", sound + "}", payloadFormatInvalid, "not JSON"},
		"too long":                   {"nagios/web1/disk", with(`"more":"` + strings.Repeat("x", 256<<10) + `"`), payloadFormatInvalid, "payload: "},
		"deep":                       {"nagios/web1/disk", with(`"more":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000)), payloadFormatInvalid, "nested"},
		"no exit code":               {"nagios/web1/disk", `{"reason":"x"}`, payloadFormatInvalid, "exit_code: missing"},
		"fractional exit code":       {"nagios/web1/disk", `{"exit_code":1.5,"reason":"x"}`, payloadFormatInvalid, "exit_code: "},
		"exit code null":             {"nagios/web1/disk", `{"exit_code":null,"reason":"x"}`, payloadFormatInvalid, "exit_code: "},
		"exit code by a bad name":    {"nagios/web1/disk", `{"exit_code":"fine","reason":"x"}`, payloadFormatInvalid, "exit_code: "},
		"exit code true":             {"nagios/web1/disk", `{"exit_status":true,"reason":"x"}`, payloadFormatInvalid, "exit_status: "},
		"host's exit code 4":         {"nagios/web1", `{"exit_code":4,"reason":"x"}`, payloadFormatInvalid, "exit_code: "},
		"no reason":                  {"nagios/web1/disk", `{"exit_code":0}`, payloadFormatInvalid, "reason: missing"},
		"reason is no text":          {"nagios/web1/disk", `{"exit_code":0,"reason":7}`, payloadFormatInvalid, "reason: "},
		"given twice":                {"nagios/web1/disk", `{"exit_code":0,"exit_code":1,"reason":"x"}`, payloadFormatInvalid, "exit_code: given twice"},
		"given under two names":      {"nagios/web1/disk", with(`"output":"y"`), payloadFormatInvalid, "reason: given as output too"},
		"perfdata is a number":       {"nagios/web1/disk", with(`"perfdata":7`), payloadFormatInvalid, "perfdata: "},
		"bad time":                   {"nagios/web1/disk", with(`"time":"yesterday"`), payloadFormatInvalid, "time: "},
		"bad ttl":                    {"nagios/web1/disk", with(`"ttl":"soon"`), payloadFormatInvalid, "ttl: "},
		"source is no text":          {"nagios/web1/disk", with(`"source":[]`), payloadFormatInvalid, "source: "},
		"another host":               {"nagios/web1/disk", with(`"host":"web2"`), payloadFormatInvalid, "host: "},
		"another service":            {"nagios/web1/disk", with(`"service":"load"`), payloadFormatInvalid, "service: "},
		"no host":                    {"nagios", sound, payloadFormatInvalid, "host: missing"},
		"empty host":                 {"nagios//disk", sound, payloadFormatInvalid, "host: empty"},
		"empty service":              {"nagios/web1/", sound, payloadFormatInvalid, "service: empty"},
		"host with ;":                {"nagios/web1;/disk", sound, payloadFormatInvalid, "host: "},
		"service with !":             {"nagios/web1/di!sk", sound, payloadFormatInvalid, "service: "},
		"service with a tab":         {"nagios/web1/di\tsk", sound, payloadFormatInvalid, "service: "},
		"item's host with a newline": {"nagios", with(`"host":"web1\n"`), payloadFormatInvalid, "host: "},
		"long host":                  {"nagios/" + strings.Repeat("x", 1025), sound, payloadFormatInvalid, "host: longer"},
		"unknown host":               {"nagios/web9", sound, topicNameInvalid, `no core has a host "web9"`},
		"unknown service":            {"nagios/web1/swap", sound, topicNameInvalid, `no core has a service "swap" on host "web1"`},
		"stale":                      {"nagios/web1/disk", with(`"time":1000`), implementationError, "stale"},
		"the gateway's state":        {"checkbus/state/web1", "{}", notAuthorized, "may not write checkbus/state/web1"},
		"the gateway's status":       {"checkbus/status", "{}", notAuthorized, "may not write"},
		"the broker's figures":       {"$SYS/broker/version", "7", notAuthorized, "may not write"},
	}
	n := realtest.StartNagios(t, realtest.NagiosOptions{Objects: []checks.Object{{Host: "web1", Service: "disk"}, {Host: "web1", Service: "end"}}})
	g := startGateway(t, nagiosTable(n))
	g.knowsObjects()
	g.publish("nagios/web1/disk", sound)

	told := mqtttest.Dial(t, g.addr, mqtttest.Options{ID: "told"})
	told.Subscribe("checkbus/rejected/#", 0)
	others := mqtttest.Dial(t, g.addr, mqtttest.Options{ID: "others"})
	others.Subscribe("nagios/#", 0)
	var refusals []bus.Refusal
	for name, tt := range tests {
		for _, v5 := range []bool{true, false} {
			client := fmt.Sprintf("%s, v5 %t", name, v5)
			c := mqtttest.Dial(t, g.addr, mqtttest.Options{ID: client, V5: v5})
			c.Publish(mqtttest.Message{Topic: tt.topic, Payload: tt.payload, QoS: 1, ID: 7})
			ack := c.Acked(mqtttest.PUBACK, 7)
			if v5 && (ack.Code() != tt.code || !strings.Contains(ack.Reason(), tt.reason)) {
				t.Errorf("%s: answered %#x %q, want %#x %q", name, ack.Code(), ack.Reason(), tt.code, tt.reason)
			}
			c.Disconnect()
			if !strings.HasPrefix(tt.topic, "nagios") {
				continue
			}
			p := told.Next(mqtttest.PUBLISH)
			if want := "checkbus/rejected/" + checks.EncodeLevel(client); p.Topic() != want {
				t.Fatalf("%s: told on %s, want %s", name, p.Topic(), want)
			}
			var r bus.Refusal
			if err := json.Unmarshal([]byte(p.Payload()), &r); err != nil {
				t.Fatal(err)
			}
			if r.Client != client || r.Topic != tt.topic || !strings.Contains(r.Reason, tt.reason) || !strings.HasPrefix(tt.payload, excerpt(r.Payload, 1000)) {
				t.Errorf("%s: told %+.1000v", name, r)
			}
			refusals = append(refusals, r)
		}
	}
	if kept := g.rejected(); !slices.Equal(kept, refusals) {
		t.Errorf("checkbus rejected lists %d refusals, and %d were told; they differ", len(kept), len(refusals))
	}
	g.publish("nagios/web1/end", sound)
	if p := others.Next(mqtttest.PUBLISH); p.Topic() != "nagios/web1/end" {
		t.Errorf("subscribers got %v", p)
	}
}

// knowsObjects waits until the gateway knows what its Nagios monitors.
func (g *gateway) knowsObjects() {
	g.t.Helper()
	waitFor(g.t, "the object cache to be read", func() bool { return strings.Contains(g.logged(), "object cache read") })
}

// rejected is what "checkbus rejected" lists.
func (g *gateway) rejected() (refusals []bus.Refusal) {
	g.t.Helper()
	for d := json.NewDecoder(strings.NewReader(g.command("rejected", "-json"))); d.More(); {
		var r bus.Refusal
		if err := d.Decode(&r); err != nil {
			g.t.Fatal(err)
		}
		refusals = append(refusals, r)
	}
	return refusals
}

// TestNothingPublishedIsACommand tries to smuggle Nagios's commands through
// every field that a publisher can choose, also where no object cache tells
// which names are sound, and where lines are written into the command file.
func TestNothingPublishedIsACommand(t *testing.T) {
	t.Parallel()
	ways := map[string]func(*realtest.Nagios) string{
		"known objects": nagiosTable,
		"any objects": func(n *realtest.Nagios) string {
			return fmt.Sprintf("[nagios]\ncommand_file = %q\nbatch_dir = %q\n", n.CommandFile, n.BatchDir)
		},
		"plain lines": func(n *realtest.Nagios) string { return fmt.Sprintf("[nagios]\ncommand_file = %q\n", n.CommandFile) },
	}
	for name, table := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			end := checks.Object{Host: "web1", Service: "end"}
			n := realtest.StartNagios(t, realtest.NagiosOptions{
				Objects: []checks.Object{{Host: "web1", Service: "disk"}, end},
				Config:  []string{"log_external_commands=1"},
			})
			g := startGateway(t, table(n))
			for i, command := range injections() {
				g.inject(i, command)
			}
			g.publish(end.Topic("nagios"), `{"exit_code":0,"reason":"the last one"}`)
			status := n.WaitStatus("process the last result", func(m map[checks.Object]realtest.NagiosStatus) bool {
				return strings.Contains(m[end].Output, "the last one")
			})
			if got := status[end].State; got != 0 {
				t.Errorf("a forged result made the state %d", got)
			}
			for _, line := range n.Log() {
				_, command, found := strings.Cut(line, "EXTERNAL COMMAND: ")
				name, _, _ := strings.Cut(command, ";")
				switch {
				case !found, name == "PROCESS_HOST_CHECK_RESULT", name == "PROCESS_FILE":
				case name == "PROCESS_SERVICE_CHECK_RESULT" && !strings.HasPrefix(command, name+";web1;end;2"):
				default:
					t.Errorf("Nagios ran %.200q", line)
				}
			}
		})
	}
}

// injections are texts with commands in them, behind all that might end a line
// or a field.
func injections() (texts []string) {
	for _, end := range []string{"\n", "\r\n", "\r", "\x00", `\n`, "\v", "\f", "\u0085", "\u2028", "%0A", "%0a", ";", "|", "\x1b[2K\n", "|a=1\n", "\\\n"} {
		for _, command := range []string{"DISABLE_NOTIFICATIONS", "ADD_HOST_COMMENT;web1;1;mallory;owned", "PROCESS_SERVICE_CHECK_RESULT;web1;end;2;forged"} {
			texts = append(texts, fmt.Sprintf("x%[1]sy%[1]s[%[2]d] %[3]s%[1]s", end, time.Now().Unix(), command))
		}
	}
	return texts
}

// inject puts a text wherever a publisher may.
func (g *gateway) inject(i int, text string) {
	g.t.Helper()
	quoted, _ := json.Marshal(text) // a string
	for _, payload := range []string{
		`{"exit_code":1,"reason":%s}`,
		`{"exit_code":1,"reason":"x","perfdata":%s}`,
		`{"exit_code":1,"reason":"x","perfdata":[%s]}`,
		`{"exit_code":1,"reason":"x","source":%s}`,
		`{"exit_code":1,"reason":"x","host":%s}`,
		`{"exit_code":1,"reason":"x","service":%s}`,
		`{"exit_code":1,"reason":"x","time":%s}`,
		`{"exit_code":1,"reason":"x","ttl":%s}`,
		`{"exit_code":1,"reason":"x","x":%s}`,
		`{"exit_code":%s,"reason":"x"}`,
	} {
		g.tries(i, "nagios/web1/disk", fmt.Sprintf(payload, quoted))
	}
	g.tries(i, "nagios/web1/disk", text)
	g.tries(i, "nagios", fmt.Sprintf(`{"exit_code":1,"reason":"x","host":%s,"service":"disk"}`, quoted))
	g.tries(i, "nagios", fmt.Sprintf(`{"exit_code":1,"reason":"x","host":%s}`, quoted))
	for _, topic := range []string{"nagios/web1/disk" + text, "nagios/" + text + "/disk", "nagios/web1/%2F" + text, text} {
		g.tries(i, topic, `{"exit_code":1,"reason":"x"}`)
	}
}

// tries publishes what may be refused, or end the connection.
func (g *gateway) tries(i int, topic, payload string) {
	g.t.Helper()
	c := mqtttest.Dial(g.t, g.addr, mqtttest.Options{ID: fmt.Sprint("mallory", i), V5: i%2 == 0})
	defer c.Close()
	c.Publish(mqtttest.Message{Topic: topic, Payload: payload, QoS: 1, ID: 1})
	if p, err := c.Read(); err == nil && p.Type() != mqtttest.PUBACK && p.Type() != mqtttest.DISCONNECT {
		g.t.Errorf("%q is answered %v", topic, p)
	}
}

func TestTenThousandUnknownObjectsCostNothing(t *testing.T) {
	t.Parallel()
	n := realtest.StartNagios(t, realtest.NagiosOptions{Hosts: 5, Services: 19})
	g := startGateway(t, nagiosTable(n))
	g.knowsObjects()
	sent := make(map[checks.Object]int)
	neighbours := startStream(t, g.addr, numberedObjects(5, 19), sent)
	c := mqtttest.Dial(t, g.addr, mqtttest.Options{ID: "stranger", V5: true})
	const count, burst = 10_000, 500
	for from := 0; from < count; from += burst {
		var messages []mqtttest.Message
		for i := range burst {
			messages = append(messages, mqtttest.Message{Topic: fmt.Sprintf("nagios/unknown%d/service", from+i), Payload: numberedPayload(i), QoS: 1, ID: uint16(i + 1)})
		}
		c.Publish(messages...)
		for i := range burst {
			if ack := c.Acked(mqtttest.PUBACK, uint16(i+1)); ack.Code() != topicNameInvalid {
				t.Fatalf("an unknown object is answered %#x %q", ack.Code(), ack.Reason())
			}
		}
	}
	neighbours.more(500)
	neighbours.finish()
	newNagiosAccount(t, n).settle(neighbours)
	if slices.ContainsFunc(n.Log(), func(line string) bool { return strings.Contains(line, "unknown") }) {
		t.Error("Nagios heard of an unknown object")
	}
	g.usedLittle()
}

// usedLittle checks the memory of the gateway's whole life so far.
func (g *gateway) usedLittle() {
	g.t.Helper()
	used := g.memory()
	g.t.Logf("memory: at most %d MiB", used>>20)
	if used > memoryBound() {
		g.t.Errorf("the gateway used %d MiB, more than %d", used>>20, memoryBound()>>20)
	}
}

// TestStrangersDoNotDisturbOthers does to one gateway, side by side, what a
// network may do to a port, while others publish.
func TestStrangersDoNotDisturbOthers(t *testing.T) {
	t.Parallel()
	attacks := map[string]func(*testing.T, *gateway){
		"oversized packets":           sendOversized,
		"damaged packets":             sendDamaged,
		"half-open connections":       openHalf,
		"subscribers that never read": subscribeWithoutReading,
		"publishers that do not wait": publishWithoutReading,
	}
	g := startGateway(t, "")
	neighbours := startStream(t, g.addr, numberedObjects(5, 19), make(map[checks.Object]int))
	t.Run("attacks", func(t *testing.T) {
		for name, attack := range attacks {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				attack(t, g)
			})
		}
	})
	neighbours.more(500)
	neighbours.finish()
	if !g.alive() {
		t.Error("the gateway is gone")
	}
	g.usedLittle()
}

// sendOversized announces and sends more than max_packet, before and after
// CONNECT.
func sendOversized(t *testing.T, g *gateway) {
	huge := mqtttest.Message{Topic: "nagios/web1", Payload: strings.Repeat("x", 2_000_001), QoS: 1, ID: 1}
	for range 20 {
		c := mqtttest.Dial(t, g.addr, mqtttest.Options{ID: "huge5", V5: true})
		_, _ = c.Write(huge.Encode(true)) // the connection may end in the middle
		if p := c.Closed(); p.Type() == mqtttest.DISCONNECT && p.Code() != packetTooLarge {
			t.Errorf("an oversized packet ends in %#x, want %#x", p.Code(), packetTooLarge)
		}
		c = mqtttest.Dial(t, g.addr, mqtttest.Options{ID: "huge3"})
		_, _ = c.Write(huge.Encode(false))
		c.Closed()
		c = mqtttest.Open(t, g.addr, mqtttest.Options{})
		c.Send([]byte{mqtttest.CONNECT << 4, 0xff, 0xff, 0xff, 0x7f}) // 256 MB will follow
		c.Closed()
	}
}

// sendDamaged sends random bytes and real packets cut, changed and repeated.
func sendDamaged(t *testing.T, g *gateway) {
	random := rand.New(rand.NewPCG(1, 2))
	will := mqtttest.Message{Topic: "nagios/web1", Payload: numberedPayload(1), QoS: 1}
	for i := range 3000 {
		v5 := i%2 == 0
		connect := mqtttest.Options{ID: fmt.Sprint("damaged", i%10), V5: v5, Persistent: i%3 == 0, KeepAlive: 10, Will: &will, User: "u"}.Encode()
		sound := slices.Concat(
			connect,
			mqtttest.Encode(mqtttest.SUBSCRIBE<<4|2, slices.Concat([]byte{0, 1, 0}, mqtttest.Str("damaged/#"), []byte{1})),
			mqtttest.Message{Topic: "nagios/web1/disk", Payload: numberedPayload(i), QoS: 1, ID: 2}.Encode(v5),
			mqtttest.Message{Topic: "nagios/web1/disk", Payload: numberedPayload(i), QoS: 2, ID: 3}.Encode(v5),
			[]byte{mqtttest.PUBREL<<4 | 2, 2, 0, 3, mqtttest.PINGREQ << 4, 0, mqtttest.DISCONNECT << 4, 0},
		)
		sent := slices.Clone(sound)
		intact := 0
		if i%4 > 0 {
			intact = len(connect) // so that what follows is read at all
		}
		for range 1 + random.IntN(4) {
			sent[intact+random.IntN(len(sent)-intact)] = byte(random.Uint32())
		}
		if i%5 == 0 {
			sent = sent[:random.IntN(len(sent))]
		}
		exchange(t, g, sent)
	}
}

// exchange sends bytes and waits until the gateway has ended the connection.
func exchange(t *testing.T, g *gateway, sent []byte) {
	t.Helper()
	c := mqtttest.Open(t, g.addr, mqtttest.Options{})
	defer c.Close()
	_, _ = c.Write(sent) // the connection may end before
	_ = c.Conn.(*net.TCPConn).CloseWrite()
	c.Closed()
}

// openHalf opens connections that never send a CONNECT, or a part of one, and
// waits until the gateway closes them.
func openHalf(t *testing.T, g *gateway) {
	connect := mqtttest.Options{ID: "half"}.Encode()
	var half []*mqtttest.Client
	for i := range 500 {
		c := mqtttest.Open(t, g.addr, mqtttest.Options{})
		c.Send(connect[:i%len(connect)])
		half = append(half, c)
	}
	for _, c := range half {
		c.Closed()
	}
}

// subscribeWithoutReading has subscribers that take nothing off the wire, until
// far more than any buffer holds was published for them.
func subscribeWithoutReading(t *testing.T, g *gateway) {
	for i := range 4 {
		c := mqtttest.Dial(t, g.addr, mqtttest.Options{ID: fmt.Sprint("deaf", i), V5: i%2 == 0, Persistent: i%3 == 0, Buffer: 4 << 10})
		c.Subscribe("flood/#", byte(i%3))
	}
	publisher := mqtttest.Dial(t, g.addr, mqtttest.Options{ID: "flood", V5: true})
	payload := strings.Repeat("x", 100_000)
	for i := range 300 {
		id := uint16(i + 1)
		publisher.Publish(mqtttest.Message{Topic: "flood/x", Payload: payload, QoS: 1, ID: id})
		publisher.Acked(mqtttest.PUBACK, id)
	}
}

// publishWithoutReading has publishers that never take an acknowledgement.
func publishWithoutReading(t *testing.T, g *gateway) {
	for i := range 10 {
		c := mqtttest.Dial(t, g.addr, mqtttest.Options{ID: fmt.Sprint("rude", i), Buffer: 4 << 10})
		if err := c.SetWriteDeadline(time.Now().Add(2 * time.Second)); err != nil {
			t.Fatal(err)
		}
		for id := range 5000 {
			m := mqtttest.Message{Topic: "nagios/rude", Payload: numberedPayload(id), QoS: 1, ID: uint16(id + 1)}
			if _, err := c.Write(m.Encode(false)); err != nil {
				break
			}
		}
	}
}
