#!/usr/bin/env bash
# Starts an Icinga 2 and checkbus in a temporary folder, publishes some results
# and shows what Icinga 2 made of them. Needs no root; runs until Ctrl-C.
. "$(dirname "$0")/common.sh"

icinga=$(need icinga2 icinga2-bin)
need mosquitto_pub mosquitto-clients >/dev/null
for tool in openssl curl jq; do need $tool $tool >/dev/null; done

node=quickstart
mkdir -p "$dir"/icinga/{lib/certs,log,run,cache,spool}

# An authority for this one run, and the server's certificate. Icinga 2 makes
# its own with "icinga2 node setup --master" or "icinga2 api setup".
certs=$dir/icinga/lib/certs
key=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)
openssl req -x509 "${key[@]}" -keyout "$dir/ca.key" -out "$certs/ca.crt" -days 2 -subj "/CN=quickstart authority" 2>/dev/null
openssl req "${key[@]}" -keyout "$certs/$node.key" -out "$dir/$node.csr" -subj "/CN=$node" 2>/dev/null
openssl x509 -req -in "$dir/$node.csr" -CA "$certs/ca.crt" -CAkey "$dir/ca.key" -CAcreateserial -days 2 \
	-extfile <(echo "subjectAltName=DNS:$node") -out "$certs/$node.crt" 2>/dev/null

secret=$(openssl rand -hex 16)
(umask 077 && echo "$secret" >"$dir/icinga.secret")
api=$(free_port)
cat >"$dir/icinga2.conf" <<END
const NodeName = "$node"
const ZoneName = NodeName
const CheckbusPassword = "$secret"
object Endpoint NodeName { }
object Zone ZoneName { endpoints = [ NodeName ] }
include <itl>
object CheckerComponent "checker" { }
object ApiListener "api" { bind_host = "127.0.0.1"; bind_port = $api }
include "$repo/contrib/icinga2/api-user.conf"
include "$repo/contrib/icinga2/templates.conf"
include "$repo/contrib/icinga2/example.conf"
END
export ICINGA2_USER ICINGA2_GROUP # whom it becomes when started by root
ICINGA2_USER=$(id -un)
ICINGA2_GROUP=$(id -gn)
start icinga "$icinga" daemon -c "$dir/icinga2.conf" \
	-DConfigDir="$dir/icinga" -DDataDir="$dir/icinga/lib" -DLogDir="$dir/icinga/log" \
	-DInitRunDir="$dir/icinga/run" -DCacheDir="$dir/icinga/cache" -DSpoolDir="$dir/icinga/spool"

ask() {
	curl -sSf --cacert "$certs/ca.crt" --resolve "$node:$api:127.0.0.1" \
		-u "checkbus:$secret" -H 'Accept: application/json' "https://$node:$api$1"
}
await "Icinga 2" ask "/v1/objects/hosts/web1?attrs=state"

cat >"$dir/icinga.toml" <<END
[icinga]
url = ["https://127.0.0.1:$api"]
ca = "$certs/ca.crt"
server_name = "$node"
username = "checkbus"
password_file = "$dir/icinga.secret"
END
start_checkbus "$dir/icinga.toml"
publish_some

states() {
	for object in "hosts/web1" "services/web1!disk" "services/web1!backup"; do
		ask "/v1/objects/$object?attrs=state&attrs=last_check_result" |
			jq -er '.results[] | "    \(.name)  state \(.attrs.state)  \(.attrs.last_check_result.output // halt_error)"' || return
	done
}
await "the results in Icinga 2" states
echo "in Icinga 2, as its API tells:"
states
show_rejected
run_until_interrupted
