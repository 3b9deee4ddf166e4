// Package checks holds the words of monitoring as values: what was checked
// (Object), what was found (State), and one check's report (Result), with the
// decoding of MQTT messages into results and the text formats of the
// Monitoring Plugins guidelines: thresholds, performance data, plugin output.
//
// It imports nothing but the standard library, and everything else in checkbus
// speaks in its words.
package checks
