#!/bin/sh
# Runs a monitoring plugin and publishes what it reports:
#
#     publish-plugin.sh SERVICE PLUGIN [ARGUMENT...]
#
# SERVICE as the core names it; "" reports on the host itself. The host is
# called what hostname prints, or $CHECKBUS_HOST.
#
# The broker's address, and the password or certificate, stand in
# mosquitto_pub's own file, ~/.config/mosquitto_pub, one option a line:
#
#     -h broker.example.org
#     -p 8883
#     --cafile /etc/ssl/certs/ca-certificates.crt
#
# Exits 0 when the broker has acknowledged the result, whatever the result is.
set -u

if [ $# -lt 2 ]; then
	echo "usage: ${0##*/} SERVICE PLUGIN [ARGUMENT...]" >&2
	exit 2
fi
host=${CHECKBUS_HOST:-$(hostname)} || exit 1
service=$1
shift

# Prints its input as the inside of a JSON string, without the last newline.
json() {
	LC_ALL=C awk '
	BEGIN {
		for (i = 1; i < 32; i++)
			escape[sprintf("%c", i)] = sprintf("\\u%04x", i)
		escape["\t"] = "\\t"
		escape["\""] = "\\\""
		escape["\\"] = "\\\\"
	}
	{
		if (NR > 1)
			printf "\\n"
		for (i = 1; i <= length($0); i++) {
			c = substr($0, i, 1)
			printf "%s", (c in escape) ? escape[c] : c
		}
	}'
}

# Prints $1 as it is written in a topic; $2 are sed commands for more than that.
level() {
	printf '%s\n' "$1" | sed -e 's/%/%25/g' -e 's/+/%2B/g' -e 's/#/%23/g' ${2:+-e "$2"}
}

topic=nagios/$(level "$host" 's,/,%2F,g')
if [ -n "$service" ]; then
	topic=$topic/$(level "$service")
fi

output=$("$@")
code=$?
: "${output:=no output, exit code $code}"

printf '{"exit_code":%d,"reason":"%s","source":"%s"}' \
	"$code" "$(printf '%s\n' "$output" | json)" "$(printf '%s\n' "$host" | json)" |
	mosquitto_pub -V mqttv5 -q 1 -I "$host-" -t "$topic" -s
