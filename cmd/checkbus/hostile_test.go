package main

import (
	"encoding/json"
	"fmt"
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
		for _, way := range []struct {
			v5  bool
			qos byte
			ack int
		}{{true, 1, mqtttest.PUBACK}, {true, 2, mqtttest.PUBREC}, {false, 1, mqtttest.PUBACK}} {
			client := fmt.Sprintf("%s, %+v", name, way)
			c := mqtttest.Dial(t, g.addr, mqtttest.Options{ID: client, V5: way.v5})
			c.Publish(mqtttest.Message{Topic: tt.topic, Payload: tt.payload, QoS: way.qos, ID: 7})
			ack := c.Acked(way.ack, 7)
			if way.v5 && (ack.Code() != tt.code || !strings.Contains(ack.Reason(), tt.reason)) {
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
	for d := json.NewDecoder(strings.NewReader(g.command("rejected", "-json", "-n", "1000"))); d.More(); {
		var r bus.Refusal
		if err := d.Decode(&r); err != nil {
			g.t.Fatal(err)
		}
		refusals = append(refusals, r)
	}
	return refusals
}

func TestABadItemLeavesItsNeighboursAlone(t *testing.T) {
	t.Parallel()
	const first, bad, last = `{"service":"a","exit_code":1,"reason":"x"}`, `{"service":"b","reason":"x"}`, `{"service":"c","exit_code":1,"reason":"x"}`
	batches := map[string]string{
		"an array":         "[" + first + "," + bad + "," + last + "]",
		"an object a line": first + "\n" + bad + "\n" + last + "\n",
	}
	g := startGateway(t, "")
	told := mqtttest.Dial(t, g.addr, mqtttest.Options{ID: "told"})
	told.Subscribe("checkbus/#", 0)
	told.Next(mqtttest.PUBLISH) // checkbus/status
	c := mqtttest.Dial(t, g.addr, mqtttest.Options{ID: "batch", V5: true})
	for name, payload := range batches {
		host := "nagios/" + name
		c.Publish(mqtttest.Message{Topic: host, Payload: payload, QoS: 1, ID: 1})
		if ack := c.Acked(mqtttest.PUBACK, 1); ack.Code() != 0 || !strings.Contains(ack.Reason(), "1 of 3 items, first: invalid: item 2: exit_code: missing") {
			t.Errorf("%s: answered %#x %q", name, ack.Code(), ack.Reason())
		}
		var topics []string
		for range 5 { // the state and the event of two, and a refusal
			topics = append(topics, told.Next(mqtttest.PUBLISH).Topic())
		}
		for _, want := range []string{"checkbus/state/" + name + "/a", "checkbus/state/" + name + "/c", "checkbus/rejected/batch"} {
			if !slices.Contains(topics, want) {
				t.Errorf("%s: %s was not told, only %q", name, want, topics)
			}
		}
	}
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
