#!/bin/sh
# Runs COMMAND for each problem that is confirmed and each that is over, but for
# those in a downtime or acknowledged:
#     loop.sh COMMAND [ARGUMENT...]
# appends four arguments: state, host, service (empty for the host itself), reason.
# Without a command it prints them. Needs mosquitto_sub and jq; the gateway's
# address and who one is there are read from ~/.config/mosquitto_sub.
set -eu

# With -c and a name of its own, what happens while this does not run is told
# when it runs again.
client=notify-$(id -un)-$(hostname)-$(basename "${1:-print}")
[ $# -gt 0 ] || set -- printf '%s %s %s: %s\n'

tab=$(printf '\t')
mosquitto_sub -q 1 -c -i "$client" -t 'checkbus/event/#' |
	jq -r --unbuffered '
		select(.change == "state" or .change == "hard")
		| select(.state_type == "hard" and (.in_downtime or .acknowledged | not))
		| [.state, .host, .service // "", .reason]
		| map(gsub("[[:cntrl:]]+"; " ")) | "\(.[0])\t\(.[1])\t=\(.[2])\t\(.[3])"' |
	while IFS=$tab read -r state host service reason; do
		"$@" "$state" "$host" "${service#=}" "$reason" </dev/null || echo "$1 failed" >&2
	done
