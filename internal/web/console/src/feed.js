// Lists of what happened, the newest first.
import { byId, date, element, nameOf, number, setText, timeOfDay } from './text.js'

export const most = 200 // items shown

// A Feed shows the newest items of a list, which stands still while it is paused;
// item makes the element of one.
export class Feed {
	constructor(id, item) {
		this.list = byId(id)
		this.empty = byId(`${id}-empty`)
		this.pause = byId(`${id}-pause`)
		this.item = item
		this.waiting = []
		this.isStale = false
		this.came = 0 // while it is paused
		this.pause.addEventListener('click', () => {
			this.pause.setAttribute('aria-pressed', String(!this.isPaused))
			this.came = 0
			this.render()
		})
	}

	get isPaused() {
		return this.pause.getAttribute('aria-pressed') === 'true'
	}

	// isDue tells whether there is something to show.
	get isDue() {
		return this.isStale || this.waiting.length > 0
	}

	add(value) {
		this.waiting.push(value)
		if (this.waiting.length > most) this.waiting.shift()
		if (this.isPaused) this.came++
	}

	// clear makes what is added next replace the rest.
	clear() {
		this.waiting = []
		this.isStale = true
	}

	render() {
		setText(this.pause, this.came > 0 ? `Paused, ${number(this.came)} new` : this.isPaused ? 'Paused' : 'Pause')
		if (this.isPaused) return
		if (this.isDue) {
			if (this.isStale) this.list.replaceChildren()
			this.isStale = false
			this.list.prepend(...this.waiting.reverse().map(this.item))
			this.waiting = []
			while (this.list.childElementCount > most) this.list.lastElementChild.remove()
		}
		this.empty.hidden = this.list.childElementCount > 0
	}
}

const what = {
	hard: (o) => `is ${o.state} for certain`,
	attempt: (o) => `is still ${o.state}`,
	acknowledged: (o) => (o.acknowledged ? 'is acknowledged' : 'is no longer acknowledged'),
	downtime: (o) => (o.in_downtime ? 'is in downtime' : 'is out of downtime'),
	flapping: (o) => (o.flapping ? 'began to flap' : 'flaps no more'),
	removed: () => 'is gone',
}

export function event(o) {
	const happened = what[o.change]?.(o) ?? `${o.previous} → ${o.state}`
	return element('li', { 'data-state': o.state, 'data-topic': o.topic.replace('/event/', '/state/') },
		element('time', { datetime: o.time, title: date(o.time) }, timeOfDay(o.received)),
		element('span', { class: 'pill' }, o.state),
		element('button', { type: 'button', class: 'name' }, nameOf(o)),
		element('span', { class: 'happened' }, happened + (o.state_type === 'soft' ? ` (soft ${o.attempt})` : '')),
		element('span', { class: 'reason', title: o.reason }, o.reason.split('\n', 1)[0]))
}

export function refusal(r) {
	return element('li', {},
		element('time', { datetime: r.time, title: date(r.time) }, date(r.time)),
		element('span', { class: 'name' }, r.topic),
		element('span', { class: 'happened' }, `from ${r.client || 'an unnamed client'}${r.core ? `, refused by ${r.core}` : ''}`),
		element('span', { class: 'reason' }, r.reason),
		...(r.payload ? [element('details', {}, element('summary', {}, 'Payload'), element('pre', { tabindex: 0 }, r.payload))] : []))
}
