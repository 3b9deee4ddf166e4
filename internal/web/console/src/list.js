// The list of objects: only the rows in sight are elements, so that ten thousand
// objects cost no more than thirty.
import { isHandled, isProblem } from './objects.js'
import { byId, date, element, flags, nameOf, setText, span } from './text.js'

const spare = 8 // rows beyond each edge

export class List {
	constructor(sorted, open) {
		this.sorted = sorted
		this.grid = byId('objects')
		this.body = this.grid.querySelector('.body')
		this.rows = []
		this.active = null // the topic of the row that the keyboard is at
		this.grid.addEventListener('scroll', () => this.render(), { passive: true })
		new ResizeObserver(() => this.render()).observe(this.grid)
		this.body.addEventListener('click', (event) => {
			const row = event.target.closest('.row')
			if (!row) return
			this.active = row.object.topic
			open(row.object)
		})
		this.grid.addEventListener('keydown', (event) => this.key(event, open))
	}

	// height is that of a row, in pixels; it depends on the page's width.
	get height() {
		return parseFloat(getComputedStyle(this.grid).getPropertyValue('--row')) || 40
	}

	render() {
		const all = this.sorted.rows
		const height = this.height
		const first = Math.max(0, Math.floor(this.grid.scrollTop / height) - spare)
		const count = Math.min(all.length - first, Math.ceil(this.grid.clientHeight / height) + 2 * spare)
		this.body.style.height = `${all.length * height}px`
		this.grid.setAttribute('aria-rowcount', all.length + 1)
		while (this.rows.length < count) this.rows.push(this.body.appendChild(newRow(this.rows.length)))
		const now = Date.now()
		this.rows.forEach((row, i) => {
			const object = i < count ? all[first + i] : undefined
			row.hidden = !object
			if (!object) return
			row.style.transform = `translateY(${(first + i) * height}px)`
			row.setAttribute('aria-rowindex', first + i + 2)
			row.setAttribute('aria-selected', String(object.topic === this.active))
			if (row.object !== object) fill(row, object)
			setText(row.since, object.sinceTime ? span((now - object.sinceTime) / 1000) : '')
		})
		const active = this.rows.find((row) => !row.hidden && row.object.topic === this.active)
		if (active) this.grid.setAttribute('aria-activedescendant', active.id)
		else this.grid.removeAttribute('aria-activedescendant')
	}

	// key moves through the list.
	key(event, open) {
		const all = this.sorted.rows
		const at = all.findIndex((o) => o.topic === this.active)
		const page = Math.max(1, Math.floor(this.grid.clientHeight / this.height) - 1)
		const moves = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: all.length - 1 }
		if (event.key === 'Enter' && all[at]) {
			open(all[at])
		} else if (event.key in moves && all.length > 0) {
			const to = Math.min(all.length - 1, Math.max(0, moves[event.key]))
			this.active = all[to].topic
			this.show(to)
		} else {
			return
		}
		event.preventDefault()
	}

	// show scrolls to a row.
	show(i) {
		const height = this.height
		const room = this.grid.clientHeight - this.body.offsetTop
		const top = i * height
		if (top < this.grid.scrollTop) this.grid.scrollTop = top
		else if (top + height > this.grid.scrollTop + room) this.grid.scrollTop = top + height - room
		this.render()
	}
}

function newRow(i) {
	const row = element('div', { role: 'row', class: 'row', id: `row-${i}` })
	const cell = (name) => (row[name] = row.appendChild(element('span', { role: 'gridcell', class: name })))
	row.pill = cell('state').appendChild(element('span', { class: 'pill' }))
	for (const name of ['host', 'service', 'since']) cell(name)
	const what = cell('what')
	row.extra = what.appendChild(element('span', { class: 'flags' }))
	row.reason = what.appendChild(element('span', { class: 'reason' }))
	return row
}

function fill(row, o) {
	row.object = o
	row.dataset.state = o.state
	row.classList.toggle('handled', isProblem(o) && Boolean(isHandled(o)))
	row.setAttribute('aria-label', `${nameOf(o)} ${o.state}`)
	setText(row.pill, o.state)
	setText(row.extra, flags(o).join(', '))
	setText(row.host, o.host)
	setText(row.service, o.service)
	setText(row.reason, o.reason.split('\n', 1)[0])
	row.host.title = o.host
	row.service.title = o.service
	row.since.title = date(o.since)
	row.reason.title = row.reason.textContent
}
