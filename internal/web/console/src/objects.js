// What the gateway has said of hosts and services.

// severity orders states, the worst first; what somebody has seen to comes after
// what nobody has.
const severity = { DOWN: 0, CRITICAL: 1, UNREACHABLE: 2, UNKNOWN: 3, WARNING: 4, PENDING: 8, UP: 9, OK: 9 }
const handledLater = 5

export const states = ['DOWN', 'CRITICAL', 'UNREACHABLE', 'UNKNOWN', 'WARNING', 'PENDING', 'UP', 'OK']

const problems = new Set(['DOWN', 'CRITICAL', 'UNREACHABLE', 'UNKNOWN', 'WARNING'])

export const isProblem = (object) => problems.has(object.state)
export const isHandled = (object) => object.acknowledged || object.in_downtime

// order compares two objects: by severity, then the newest change first, then by
// name, so that no two are equal.
export function order(a, b) {
	return a.rank - b.rank || b.sinceTime - a.sinceTime || (a.topic < b.topic ? -1 : a.topic > b.topic ? 1 : 0)
}

// read makes an object of a message; null of one that is none.
export function read(topic, payload) {
	let o
	try {
		o = JSON.parse(payload)
	} catch {
		return null
	}
	if (typeof o?.host !== 'string' || !Object.hasOwn(severity, o.state)) return null
	o.topic = topic
	o.service = String(o.service ?? '')
	o.reason = String(o.reason ?? '')
	o.rank = severity[o.state] + (isProblem(o) && isHandled(o) ? handledLater : 0)
	o.sinceTime = Date.parse(o.since) || 0
	o.text = `${o.host}\n${o.service}\n${o.reason}`.toLowerCase()
	return o
}

// Objects has the newest object of each topic, and tells its watchers of every
// change: (before, now), either of them undefined.
export class Objects {
	constructor() {
		this.byTopic = new Map()
		this.counts = Object.fromEntries(states.map((s) => [s, 0]))
		this.problems = 0
		this.watchers = []
	}

	set(topic, now, generation) {
		const before = this.byTopic.get(topic)
		if (!before && !now) return
		if (now) {
			now.generation = generation
			this.byTopic.set(topic, now)
			this.count(now, 1)
		} else {
			this.byTopic.delete(topic)
		}
		if (before) this.count(before, -1)
		for (const watch of this.watchers) watch(before, now ?? undefined)
	}

	count(object, by) {
		this.counts[object.state] += by
		if (isProblem(object)) this.problems += by
	}

	// sweep removes what was not told again since generation began.
	sweep(generation) {
		for (const [topic, object] of this.byTopic) {
			if (object.generation !== generation) this.set(topic, null)
		}
	}
}

// Sorted keeps those objects in order that match.
export class Sorted {
	constructor(objects) {
		this.objects = objects
		this.rows = []
		this.match = () => true
		objects.watchers.push((before, now) => {
			if (before && this.match(before)) this.rows.splice(this.place(before), 1)
			if (now && this.match(now)) this.rows.splice(this.place(now), 0, now)
		})
	}

	filter(match) {
		this.match = match
		this.rows = [...this.objects.byTopic.values()].filter(match).sort(order)
	}

	// place is where object is, or belongs.
	place(object) {
		let low = 0
		let high = this.rows.length
		while (low < high) {
			const middle = (low + high) >>> 1
			if (order(this.rows[middle], object) < 0) low = middle + 1
			else high = middle
		}
		return low
	}
}
