// Package broker is the MQTT side of checkbus: an embedded server for MQTT
// 3.1.1 and 5 whose results are acknowledged only once they are stored.
//
// It stands on github.com/mochi-mqtt/server, which shows nowhere else. The
// library keeps subscriptions, retained messages and what is on its way to
// subscribers. What a client sends is handled here, before the library sees it:
// every publish passes access control and, below the results root, the accept
// function given to Handle, and is acknowledged in the order of arrival when
// accept's verdict is there. The client's reader never waits for a verdict.
//
// Connections are served here too, so that writing to one never blocks, reading
// yields whole packets only, a client that sends garbage, nothing, or more than
// it may is the only one to suffer, and one that is silent takes little memory.
package broker
