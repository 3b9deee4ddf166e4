// All that is known of one object.
import { byId, date, element, flags, nameOf, span } from './text.js'

let shown = '' // the topic of the object shown

export function open(object) {
	shown = object.topic
	draw(object)
	byId('detail').showModal()
}

// update draws an object anew while it is shown.
export function update(before, now) {
	if (shown === '' || !byId('detail').open || (now ?? before).topic !== shown) return
	if (now) draw(now)
	else byId('detail-body').prepend(element('p', { class: 'gone' }, 'This object is gone.'))
}

function draw(o) {
	const [first, ...more] = o.reason.split('\n')
	byId('detail-title').textContent = nameOf(o)
	const facts = [
		['Since', o.sinceTime ? `${date(o.since)}, for ${span((Date.now() - o.sinceTime) / 1000)}` : ''],
		['Before', o.previous],
		['Checked', date(o.time)],
		['Attempt', `${o.attempt ?? ''} (${o.state_type})`],
		['Judged by', o.origin],
		['Topic', o.topic],
	]
	byId('detail-body').replaceChildren(
		element('p', {}, element('span', { class: 'pill', 'data-state': o.state }, o.state), ...flags(o).map((flag) => element('span', { class: 'flags' }, flag))),
		element('p', { class: 'reason' }, first),
		...(more.length ? [element('pre', { tabindex: 0 }, more.join('\n'))] : []),
		element('dl', {}, ...facts.flatMap(([k, v]) => (v ? [element('dt', {}, k), element('dd', {}, v)] : []))),
		...(o.perfdata ? [element('h3', {}, 'Performance data'), element('pre', { tabindex: 0 }, o.perfdata)] : []),
	)
}
