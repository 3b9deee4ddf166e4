package main

import (
	"context"
	"time"

	"checkbus/checks"
)

// A mode is one kind of check.
type mode struct {
	name       string
	summary    string
	run        func(context.Context, *probe) (finding, error)
	unit       time.Duration // what numbers in -w and -c count; 0: no time
	window     time.Duration // how long it listens when nothing is said; 0: until the time-out
	missing    checks.State  // when the data is not there and nothing is said
	needsTopic bool
	publishes  bool // on --topic
	tls        bool // it makes no sense without
}

// modes are all there are. They are filled in by init because their functions
// lead back to them.
var modes []mode

func modeNamed(name string) *mode {
	for i := range modes {
		if modes[i].name == name {
			return &modes[i]
		}
	}
	return nil
}

func init() {
	modes = []mode{
		{name: "roundtrip", summary: "publish, and wait for the echo", run: roundtrip, unit: time.Second, publishes: true},
		{name: "connect", summary: "TCP, TLS and CONNECT", run: connect, unit: time.Second},
		{name: "read", summary: "a message's text, numbers and age", run: read, missing: checks.Critical, needsTopic: true},
		{name: "age", summary: "how long ago topics last spoke", run: age, unit: time.Second, window: 5 * time.Second, missing: checks.Critical, needsTopic: true},
		{name: "rate", summary: "messages per second", run: rate, window: 5 * time.Second, missing: checks.Critical, needsTopic: true},
		{name: "sys", summary: "values below $SYS", run: sys, missing: checks.Unknown},
		{name: "will", summary: "a vanished client's will is published", run: lastWill, unit: time.Second, publishes: true},
		{name: "cert", summary: "days until the broker's certificate ends", run: certificate, unit: 24 * time.Hour, tls: true},
		{name: "acl-deny", summary: "a publish or subscribe that must be refused", run: aclDeny, window: time.Second, missing: checks.Unknown, needsTopic: true, publishes: true},
		{name: "gateway", summary: "a result passes through checkbus", run: gateway, unit: time.Second},
		{name: "passthrough", summary: "a message is the result", run: passthrough, missing: checks.Critical, needsTopic: true},
	}
}
