// The gateway itself: health, cores, spool, rates, $SYS and clients.
import { Chart } from './chart.js'
import { byId, bytes, date, element, number, setText, span } from './text.js'

const perSecond = (unit) => (n) => `${unit(n)}/s`

const patience = 4000 // ms

// A rate says nothing over a shorter time, as when two answers come at once, and
// nothing of now over a longer one, as a page in the background does not ask.
const shortest = 1000 // ms
const longest = 10_000 // ms

// get asks the gateway; null when it does not tell, undefined when it is silent. A
// path alone would take over a password in the page's address, which fetch refuses.
async function get(path) {
	try {
		const response = await fetch(location.origin + path, { headers: { Accept: 'application/json' }, signal: AbortSignal.timeout(patience) })
		return response.ok ? await response.json() : null
	} catch (err) {
		return err.name === 'TimeoutError' ? undefined : null
	}
}

export const refusals = () => get('/api/rejected?n=100')

// fillTable makes a table's rows those of texts.
function fillTable(table, rows) {
	const body = table.tBodies[0]
	while (body.rows.length > rows.length) body.deleteRow(-1)
	rows.forEach((texts, i) => {
		const row = body.rows[i] ?? body.insertRow()
		texts.forEach((text, k) => setText(row.cells[k] ?? row.insertCell(), text))
	})
}

// fillPeers makes a table's rows those of what the gateway is connected to: a name,
// whether it is up, and further texts.
function fillPeers(table, rows) {
	fillTable(table, rows.map(([name, up, ...texts]) => [name, up ? 'up' : 'DOWN', ...texts]))
	rows.forEach(([, up], i) => (table.tBodies[0].rows[i].cells[1].className = up ? 'good' : 'bad'))
}

export class Gateway {
	constructor() {
		this.charts = {
			results: new Chart('Results', perSecond(number)),
			events: new Chart('Events', perSecond(number)),
			messages: new Chart('Messages in', perSecond(number)),
			delivered: new Chart('Messages out', perSecond(number)),
			bytes: new Chart('Bytes in and out', perSecond(bytes)),
			clients: new Chart('Connected clients', number),
		}
		byId('charts').append(...Object.values(this.charts).map((c) => c.element))
		this.sys = new Map()
		this.shownClients = 100
		byId('clients-more').addEventListener('click', () => {
			this.shownClients += 100
			this.showClients()
		})
	}

	note(topic, text) {
		this.sys.set(topic, text)
	}

	// forget is for what is told anew of $SYS.
	forget() {
		this.sys.clear()
	}

	// refresh asks for the figures and draws them. It is false when the gateway is
	// silent.
	async refresh() {
		const f = await get('/api/status')
		if (!f) return f !== undefined
		const now = performance.now()
		this.draw(f)
		const { before } = this
		const since = before?.f.started === f.started ? now - before.at : Infinity
		if (since < shortest) return true
		if (since < longest) this.rates(f, before.f, now, since / 1000)
		this.before = { f, at: now }
		return true
	}

	rates(f, before, now, seconds) {
		const rate = (value) => Math.max(0, (value(f) - value(before)) / seconds)
		this.charts.results.add(rate((x) => x.results.received), now)
		this.charts.events.add(rate((x) => x.events), now)
		this.charts.messages.add(rate((x) => x.mqtt.messages_received), now)
		this.charts.delivered.add(rate((x) => x.mqtt.messages_sent), now)
		this.charts.bytes.add(rate((x) => x.mqtt.bytes_received + x.mqtt.bytes_sent), now)
		this.charts.clients.add(f.mqtt.connected, now)
	}

	draw(f) {
		const faults = f.checks.filter((c) => !c.ok)
		const [health, state] = faults.length === 0 ? ['Ready', 'OK'] : f.ready ? ['Degraded', 'WARNING'] : ['Not ready', 'CRITICAL']
		for (const [id, text] of [['gateway-badge', String(faults.length)], ['unready', `${health}. ${faults.map((c) => `${c.name}: ${c.reason}`).join('. ')}.`]]) {
			const e = byId(id)
			e.hidden = faults.length === 0
			e.dataset.state = state
			setText(e, e.hidden ? '' : text)
		}
		byId('health').replaceChildren(element('span', { class: 'pill', 'data-state': state }, health),
			` checkbus ${f.version}, up ${span((Date.now() - Date.parse(f.started)) / 1000)}`)
		fillPeers(byId('cores'), f.cores.map((c) => [c.name, c.up, number(c.submitted), number(c.retried),
			number(c.rejected), number(c.waiting.records), c.waiting.records ? span(c.waiting.oldest_seconds) : 'none']))
		byId('cores').hidden = f.cores.length === 0
		byId('cores-empty').hidden = f.cores.length > 0
		this.brokers(f.bridges, f.subscribe)
		this.facts([
			['Waiting', f.spool.records ? `${number(f.spool.records)} results, the oldest for ${span(f.spool.oldest_seconds)}` : 'none'],
			['Spool', `${bytes(f.spool.bytes)} of ${bytes(f.spool.limit_bytes)}`],
			['Received', number(f.results.received)],
			['Accepted', number(f.results.accepted)],
			['Rejected', number(f.results.rejected)],
			...Object.entries(f.results.rejected_by_cause).filter(([, n]) => n > 0).map(([cause, n]) => [`– ${cause.replaceAll('_', ' ')}`, number(n)]),
			['Redelivered', number(f.results.duplicate)],
			['From the future', number(f.results.clamped)],
			['Events published', number(f.events)],
		])
	}

	brokers(bridges, outside) {
		const rows = bridges.map((b) => [`bridge ${b.name}`, b.up, b.sent, b.received, b.dropped, b.queued])
		if (outside) rows.push(['outside broker', outside.up, outside.published, outside.received, outside.dropped, outside.waiting])
		fillPeers(byId('brokers').querySelector('table'), rows.map(([name, up, ...counts]) => [name, up, ...counts.map(number)]))
		byId('brokers').hidden = rows.length === 0
	}

	facts(list) {
		byId('figures').replaceChildren(...list.flatMap(([k, v]) => [element('dt', {}, k), element('dd', {}, v)]))
	}

	showSys() {
		fillTable(byId('sys'), [...this.sys].sort(([a], [b]) => (a < b ? -1 : 1)).map(([topic, text]) => [topic.replace('$SYS/', ''), text]))
	}

	async showClients() {
		const page = await get(`/api/clients?n=${this.shownClients}`)
		if (!page) return
		fillTable(byId('clients'), page.clients.map((c) => [c.id, c.user || 'anonymous', c.address, c.version, date(c.connected),
			number(c.messages_in), number(c.messages_out)]))
		setText(byId('clients-count'), `${number(page.connected)} connected`)
		byId('clients-more').hidden = page.clients.length >= page.connected || this.shownClients >= 1000
	}
}
