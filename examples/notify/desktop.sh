#!/bin/sh
# Shows a notification on the desktop: loop.sh desktop.sh
# Needs notify-send (package libnotify-bin).
set -eu

state=$1 host=$2 service=$3 reason=$4

case $state in
OK | UP) urgency=low icon=dialog-information ;;
WARNING) urgency=normal icon=dialog-warning ;;
*) urgency=critical icon=dialog-error ;;
esac

# The body is read as markup.
body=$(printf '%s' "$reason" | sed 's/&/\&amp;/g; s/</\&lt;/g; s/>/\&gt;/g')
exec notify-send -a checkbus -u "$urgency" -i "$icon" -- "$state $host $service" "$body"
