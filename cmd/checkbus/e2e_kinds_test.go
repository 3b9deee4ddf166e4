package main

import (
	"encoding/json"
	"maps"
	"strings"
	"time"

	"checkbus/checks"
)

// A kind is a result as a publisher sends it and as a core must show it.
type kind struct {
	name     string
	object   checks.Object
	sent     map[string]any
	state    checks.State
	reason   string
	perfdata string
}

// What every kind is published with besides.
var (
	kindTime   = time.Now().Add(-time.Minute).Truncate(time.Millisecond)
	kindTTL    = 10 * time.Minute
	kindSource = "probe 7"
)

// payload is the message that a publisher sends.
func (k kind) payload() string {
	sent := maps.Clone(k.sent)
	sent["time"], sent["ttl"], sent["source"] = kindTime.Format(time.RFC3339Nano), kindTTL.String(), kindSource
	text, err := json.Marshal(sent)
	if err != nil {
		panic(err) // the table below is wrong
	}
	return string(text)
}

// everyKind holds every state, and every character and shape of output that
// some step on the way might change.
var everyKind = []kind{
	host("up", 0, checks.Up),
	host("down", 1, checks.Down),
	host("down by exit code 2", 2, checks.Down),
	host("down by name", "DOWN", checks.Down),
	state("ok", 0, checks.OK),
	state("warning", 1, checks.Warning),
	state("critical", 2, checks.Critical),
	state("unknown", 3, checks.Unknown),
	state("as digits", "2", checks.Critical),
	state("by name", "warning", checks.Warning),
	text("mail", "mail server 001 is broke"),
	text("several lines", "first\nsecond\n\n  fourth"),
	text("semicolons", "a;b\nc;d;"),
	text("quotes", `"a" 'b' $HOSTNAME$ <c> & ~ $(id)`+" `id`"),
	text("backslashes", `C:\new\`+"\n"+`D:\temp\n\\x`),
	text("tabs", "a\tb\n\tc\td"),
	text("UTF-8", "é ü 漢字 €\n😀 ✓"),
	text("percent signs", "100%s %d %n %2F"),
	text("one long line", strings.Repeat("0123456789abcde ", 1<<10)[:16<<10-1]+"."),
	text("16 KiB of lines", "first\n"+strings.Repeat(`012345\`+"\n", 2046)+"end"),
	output("perfdata in the reason", "DISK OK | /=97%;90;95 'a b'=1s", "", "DISK OK", "/=97%;90;95 'a b'=1s"),
	output("perfdata of its own", "DISK OK", "/=97%;90;95", "DISK OK", "/=97%;90;95"),
	output("perfdata and long output", "fine | a=1\nmore\nand more | b=2\nc=3", "", "fine\nmore\nand more", "a=1 b=2 c=3"),
	text("Disk /var + 50% #1", "slashes and wildcards in a name"),
}

func host(name string, code any, s checks.State) kind {
	return kind{
		name: name, object: checks.Object{Host: name},
		sent:  map[string]any{"exit_code": code, "reason": "host " + name},
		state: s, reason: "host " + name,
	}
}

func state(name string, code any, s checks.State) kind {
	k := text(name, "service "+name)
	k.sent["exit_code"], k.state = code, s
	return k
}

func text(name, reason string) kind { return output(name, reason, "", reason, "") }

func output(name, sent, sentPerfdata, reason, perfdata string) kind {
	k := kind{
		name: name, object: checks.Object{Host: "web1", Service: name},
		sent:  map[string]any{"exit_code": 1, "reason": sent},
		state: checks.Warning, reason: reason, perfdata: perfdata,
	}
	if sentPerfdata != "" {
		k.sent["perfdata"] = sentPerfdata
	}
	return k
}
