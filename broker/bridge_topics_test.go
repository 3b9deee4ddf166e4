package broker

import (
	"strings"
	"testing"
	"time"

	"checkbus/internal/mqtttest"
	"checkbus/internal/realtest"
)

// A mapped line of a bridge, and what is published on one side of it.
var mappedLines = map[string]struct {
	line   string
	here   bool // published at the broker that has the bridge
	topics []string
}{
	"both prefixes":             {`p/# both 1 A/L/ A/R/`, true, []string{"A/L/p/x", "A/L/p", "A/R/p/x", "p/x"}},
	"both prefixes, back":       {`p/# both 1 B/L/ B/R/`, false, []string{"B/R/p/x", "B/L/p/x"}},
	"a local prefix alone":      {`p/# both 1 C/L/ ""`, true, []string{"C/L/p/x"}},
	"a local prefix, back":      {`D/# both 1 D2/ ""`, false, []string{"D/x", "D2/D/x"}},
	"a remote prefix alone":     {`E/# both 1 "" E/R/`, true, []string{"E/x", "E/R/E/y"}},
	"a remote prefix, back":     {`F/# both 1 "" F2/`, false, []string{"F2/F/x", "F/x"}},
	"no prefixes":               {`G/# both 1 "" ""`, true, []string{"G/x"}},
	"only the local one given":  {`x/# both 1 H/`, true, []string{"H/x/1"}},
	"a single topic":            {`"" both 1 I/local I/remote`, true, []string{"I/local", "I/local/x"}},
	"a single topic, back":      {`"" both 1 J/local J/remote`, false, []string{"J/remote"}},
	"the default direction":     {`K/#`, true, []string{"K/x"}},
	"the default is not in":     {`L/#`, false, []string{"L/x"}},
	"in is not out":             {`M/# in`, true, []string{"M/x"}},
	"out is not in":             {`N/# out`, false, []string{"N/x"}},
	"in":                        {`O/# in 1`, false, []string{"O/x"}},
	"a whole tree":              {`# both 1 P/L/ P/R/`, true, []string{"P/L/x", "P/L", "P/L/"}},
	"a whole tree, back":        {`# both 1 Q/L/ Q/R/`, false, []string{"Q/R/x", "Q/R"}},
	"a plus":                    {`+/s out 1 S/L/ S/R/`, true, []string{"S/L/a/s", "S/L/a/t", "S/L/s"}},
	"a prefix within a level":   {`t/# out 1 T/l T/r`, true, []string{"T/lt/1"}},
	"the prefix twice":          {`# out 1 U/a/ U/b/`, true, []string{"U/a/U/a/x"}},
	"the remote prefix is here": {`# out 1 V/ V/V/`, true, []string{"V/V/x"}},
}

func TestTopicsAreMappedAsByMosquitto(t *testing.T) {
	var lines []string
	for _, tt := range mappedLines {
		lines = append(lines, tt.line)
	}
	mFar, gFar := realtest.StartMosquitto(t), realtest.StartMosquitto(t)
	m := realtest.StartMosquitto(t, mosquittoBridge("peer", mFar.Addr, append(lines, "end/# both 1")...))
	g := start(t, bridgeTo(gFar.Addr, "peer", append(lines, "end/# both 1")...))

	type side struct{ here, there *mqtttest.Client }
	theirs := side{watchAll(t, m.Addr, "here"), watchAll(t, mFar.Addr, "there")}
	ours := side{watchAll(t, g.addr, "here"), watchAll(t, gFar.Addr, "there")}
	for _, s := range []side{theirs, ours} {
		joined(t, s.here, s.there, "end/here")
		joined(t, s.there, s.here, "end/there")
	}
	for name, tt := range mappedLines {
		t.Run(name, func(t *testing.T) {
			for _, topic := range tt.topics {
				arrived := func(s side) string {
					from, to := s.here, s.there
					if !tt.here {
						from, to = to, from
					}
					from.Publish(mqtttest.Message{Topic: topic, Payload: "x"}, mqtttest.Message{Topic: "end/x", Payload: topic})
					var topics []string
					for _, p := range received(t, to, payload(topic)) {
						topics = append(topics, p.Topic())
					}
					return strings.Join(topics[:len(topics)-1], " ")
				}
				if got, want := arrived(ours), arrived(theirs); got != want {
					t.Errorf("%s, published %s: arrives as %q, from Mosquitto as %q", tt.line, topic, got, want)
				}
			}
		})
	}
}

// mosquittoBridge is a connection section with Mosquitto's defaults but for the
// pause between attempts.
func mosquittoBridge(name, address string, topics ...string) string {
	lines := []string{"connection " + name, "address " + address, "restart_timeout 1"}
	for _, topic := range topics {
		lines = append(lines, "topic "+topic)
	}
	return strings.Join(lines, "\n")
}

func TestLinesThatMosquittoRefusesAreMistakes(t *testing.T) {
	tests := map[string]struct {
		line    string
		mistake string // "" is none
		differs bool   // from Mosquitto, on purpose
	}{
		"a pattern alone":          {`a/#`, "", false},
		"all fields":               {`a/# both 2 l/ r/`, "", false},
		"no such direction":        {`a/# inout 1`, "direction", false},
		"no such QoS":              {`a/# in 3`, "QoS", false},
		"a QoS that is no number":  {`a/# in x`, "QoS", true},
		"a wildcard in a prefix":   {`a in 1 +/ r/`, "wildcard", false},
		"a bad pattern":            {`a/#/b in`, "a # stands for", true},
		"nothing":                  {`"" in 1 "" ""`, "both prefixes", false},
		"a local topic alone":      {`"" in 1 l ""`, "both prefixes", false},
		"a remote topic alone":     {`"" in 1 "" r`, "both prefixes", false},
		"too many fields":          {`a in 1 l/ r/ x`, "is not of the form", true},
		"what is the gateway's":    {`checkbus/# in 1`, "only the gateway publishes", true},
		"figures of the gateway":   {`"" in 1 $SYS/broker/uptime x`, "only the gateway publishes", true},
		"figures of the other one": {`broker/uptime in 1 dc2/ $SYS/`, "", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := parseMapping(tt.line)
			if tt.mistake == "" && err != nil || tt.mistake != "" && (err == nil || !strings.Contains(err.Error(), tt.mistake)) {
				t.Errorf("error %v, want %q", err, tt.mistake)
			}
			if tt.differs {
				return
			}
			if starts, log := mosquittoStarts(t, mosquittoBridge("b", "127.0.0.1:1", tt.line)); starts != (err == nil) {
				t.Errorf("error %v; Mosquitto starts: %t\n%s", err, starts, log)
			}
		})
	}
}

func TestFiltersThatOverlap(t *testing.T) {
	tests := []struct {
		a, b string
		want bool
	}{
		{"a", "a", true}, {"a", "b", false}, {"a/b", "a", false}, {"#", "a/b", true}, {"a/#", "a", true}, {"a/#", "a/b/c", true},
		{"a/#", "b/#", false}, {"+/b", "a/+", true}, {"+/b", "a/c", false}, {"a/+/c", "a/b/#", true}, {"+", "a/b", false},
		{"#", "$SYS/x", false}, {"$SYS/#", "$SYS/+/y", true}, {"a/+", "a", false}, {"a/b/#", "a/+", true}, {"a/b/c/#", "a/+", false},
	}
	for _, tt := range tests {
		if got, back := filtersOverlap(tt.a, tt.b), filtersOverlap(tt.b, tt.a); got != tt.want || back != tt.want {
			t.Errorf("%s and %s overlap: %t, %t, want %t", tt.a, tt.b, got, back, tt.want)
		}
	}
}

func TestBridgesThatFeedEachOtherAreRefused(t *testing.T) {
	bridge := func(name string, topics ...string) Bridge {
		return Bridge{Name: name, Remote: Remote{Address: []string{"mqtt://" + name}}, Topics: topics}
	}
	tests := map[string]struct {
		bridges []Bridge
		want    string // "" is no mistake
	}{
		"one":                                  {[]Bridge{bridge("a", "# both 1")}, ""},
		"a hub":                                {[]Bridge{bridge("a", "# both 1"), bridge("b", "# both 1")}, ""},
		"trees that are apart":                 {[]Bridge{bridge("a", "x/# both 1 l/ r/", "y/# both 1")}, ""},
		"overlap here":                         {[]Bridge{bridge("a", "x/# both 1", `x/# both 1 "" r/`)}, `bridge[0].topics: "x/# both 1" and`},
		"overlap there":                        {[]Bridge{bridge("a", "x/# both 1", `+/y both 1 l/ ""`)}, "a message could go round"},
		"the same names":                       {[]Bridge{bridge("a", "x/# both 1", "x/y both 2")}, ""},
		"another name over another bridge":     {[]Bridge{bridge("a", "x/# both"), bridge("b", `x/# both 0 "" r/`)}, `bridge[1].topics: "x/# both 0 \"\" r/" and bridge[0]'s "x/# both"`},
		"one way each":                         {[]Bridge{bridge("a", "x/# in", `x/# out 0 "" r/`)}, ""},
		"a name twice":                         {[]Bridge{bridge("a", "x"), bridge("a", "y")}, `bridge[1].name: "a" is bridge[0]'s already`},
		"no topics":                            {[]Bridge{bridge("a")}, "bridge[0].topics: required"},
		"no name":                              {[]Bridge{bridge("", "x")}, "bridge[0].name: "},
		"a remote mistake":                     {[]Bridge{{Name: "a", Topics: []string{"x"}}}, "bridge[0].address: required"},
		"another protocol":                     {[]Bridge{{Name: "a", Topics: []string{"x"}, Protocol: "3.1", Remote: Remote{Address: []string{"mqtt://a"}}}}, "bridge[0].protocol"},
		"a keepalive that is short":            {[]Bridge{{Name: "a", Topics: []string{"x"}, Keepalive: time.Second, Remote: Remote{Address: []string{"mqtt://a"}}}}, "bridge[0].keepalive"},
		"pauses the wrong way round":           {[]Bridge{{Name: "a", Topics: []string{"x"}, RestartMin: time.Minute, RestartMax: time.Second, Remote: Remote{Address: []string{"mqtt://a"}}}}, "bridge[0].restart_min"},
		"a client that is more than one level": {[]Bridge{{Name: "a", Topics: []string{"x"}, ClientID: "a/b", Remote: Remote{Address: []string{"mqtt://a"}}}}, "bridge[0].client_id"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			cfg := Default()
			cfg.Bridges = tt.bridges
			err := cfg.Validate()
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("Validate() = %v, want %q", err, tt.want)
			}
		})
	}
}

func FuzzParseMapping(f *testing.F) {
	for _, tt := range mappedLines {
		f.Add(tt.line, tt.topics[0])
	}
	f.Fuzz(func(t *testing.T, line, topic string) {
		m, err := parseMapping(line)
		if err != nil {
			return
		}
		if again, err := parseMapping(m.line); err != nil || again != m {
			t.Fatalf("%q is read as %+v, then %+v, %v", line, m, again, err)
		}
		if !filterMatches(m.localTopic, topic) {
			return
		}
		if there := m.toRemote(topic); strings.HasPrefix(topic, m.local) && m.toLocal(there) != topic {
			t.Fatalf("%q: %q becomes %q, and back %q", line, topic, there, m.toLocal(there))
		}
	})
}
