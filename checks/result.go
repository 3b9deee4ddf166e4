package checks

import "time"

// A Result is one check result as it travels from its publisher to a core.
type Result struct {
	Object
	State State

	// Reason is the plugin's output without performance data: a first line,
	// then any long output, lines separated by "\n". It is valid UTF-8 and
	// holds no "|" and no control characters but newline and tab.
	Reason string
	// Perfdata is the performance data on one line, items separated by spaces,
	// as SplitPerfdata parts them. It is valid UTF-8 without control characters.
	Perfdata string

	// Time is when the check ran, as its publisher said, or the arrival.
	Time time.Time
	// Arrived is when the gateway took the message.
	Arrived time.Time
	// Executed orders the results of one object and is what cores are told.
	// It is Time, but never after Arrived, in whole microseconds, and grows
	// strictly from one accepted result of an object to the next.
	Executed time.Time

	// TTL is how long the result holds without another one; 0 is for ever.
	TTL time.Duration
	// Source is who ran the check; never empty.
	Source string
	// Client is the MQTT client identifier of the publisher.
	Client string

	// Message is a fingerprint of the MQTT message the result came in, equal
	// for a redelivery of it after a crash; 0 where there can be none (QoS 0).
	Message uint64
	// Seq is the place in the spool, counted from 1; 0 before it is there.
	Seq uint64
}
