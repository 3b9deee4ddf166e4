// The console: a client of the bus that shows what it hears.
import { follow } from './connection.js'
import * as detail from './detail.js'
import { Feed, event, most, refusal } from './feed.js'
import { address, current, matcher } from './filter.js'
import { Gateway, refusals } from './gateway.js'
import { List } from './list.js'
import { Objects, Sorted, isProblem, read, states } from './objects.js'
import { byId, element, nameOf, number, setText, timeOfDay } from './text.js'

const objects = new Objects()
const sorted = new Sorted(objects)
const list = new List(sorted, detail.open)
const events = new Feed('events', event)
const rejected = new Feed('rejected', refusal)
const gateway = new Gateway()

const betweenFrames = 50 // ms
const betweenFeeds = 250 // ms
const betweenNews = 10_000 // ms, time to read one out
const wide = matchMedia('(min-width: 84rem)') // as in the style sheet

let shown = current()
let generation = 0
let complete = false
let drawing = false
let lastFrame = 0
let lastFeeds = 0
let lostAt = 0
const news = { first: null, count: 0 } // new problems, not yet read out

// draw shows at the next frame what has changed, but not more often than the eye
// follows.
function draw() {
	if (document.hidden) drawTitle()
	if (drawing) return
	drawing = true
	setTimeout(() => requestAnimationFrame(frame), lastFrame + betweenFrames - performance.now())
}

function frame(now) {
	drawing = false
	lastFrame = now
	drawCounts()
	drawTitle()
	if (now - lastFeeds >= betweenFeeds) {
		lastFeeds = now
		events.render()
		rejected.render()
	} else if (events.isDue || rejected.isDue) {
		setTimeout(draw, betweenFeeds)
	}
	if (shown.view === 'objects') drawObjects()
}

function drawObjects() {
	list.render()
	const none = sorted.rows.length === 0
	byId('objects-empty').hidden = !none
	byId('objects').hidden = none
	if (none) setText(byId('objects-empty'), emptiness())
}

// emptiness says why there are no rows; that all is well only when it is known.
function emptiness() {
	if (!complete) return 'Waiting for the gateway.'
	if (objects.byTopic.size === 0) return 'No host has reported yet.'
	if (shown.state !== 'problems' || shown.q) return 'Nothing matches.'
	if (objects.problems > 0) return `No unhandled problems; ${number(objects.problems)} are acknowledged or in downtime.`
	return `No problems among ${number(objects.byTopic.size)} hosts and services.`
}

// The links above the list show one state each, and are made once.
const counts = ['problems', ...states, 'all'].map((state) => {
	const count = element('span', { class: 'count' })
	const link = element('a', { 'data-state': state }, state === 'problems' || state === 'all' ? state[0].toUpperCase() + state.slice(1) : state, ' ', count)
	byId('counts').append(link)
	return { state, link, count }
})

function drawCounts() {
	for (const { state, link, count } of counts) {
		const n = state === 'problems' ? objects.problems : state === 'all' ? objects.byTopic.size : objects.counts[state]
		setText(count, number(n))
		link.classList.toggle('none', n === 0)
	}
}

// drawTitle is for a page in the background too, where there are no frames.
function drawTitle() {
	const note = document.body.dataset.connection === 'lost' ? 'lost' : objects.problems
	const title = note ? `(${note}) checkbus` : 'checkbus'
	if (document.title !== title) document.title = title
}

// go shows something else, and notes it in the address.
function go(change, how = 'pushState') {
	shown = { ...shown, ...change }
	history[how](null, '', address(shown))
	byId('objects').scrollTop = 0
	show()
}

function show() {
	document.body.dataset.view = shown.view
	const beside = wide.matches && shown.view === 'objects' ? 'events' : ''
	for (const section of document.querySelectorAll('section[data-view]')) section.hidden = ![shown.view, beside].includes(section.dataset.view)
	for (const link of document.querySelectorAll('nav a')) {
		link.href = address({ ...shown, view: link.dataset.view })
		if (link.dataset.view !== shown.view) {
			link.removeAttribute('aria-current')
			continue
		}
		link.setAttribute('aria-current', 'page')
		link.scrollIntoView({ block: 'nearest', inline: 'nearest' })
	}
	for (const { state, link } of counts) {
		link.href = address({ ...shown, state })
		link.setAttribute('aria-current', String(state === shown.state))
	}
	if (byId('search').value !== shown.q) byId('search').value = shown.q
	byId('unhandled').checked = shown.unhandled
	sorted.filter(matcher(shown))
	if (shown.view === 'gateway') gateway.showSys()
	if (shown.view === 'clients') gateway.showClients()
	draw()
}

// receive takes a message from the bus.
function receive(topic, text) {
	if (topic.startsWith('checkbus/state/')) {
		objects.set(topic, text === '' ? null : read(topic, text), generation)
	} else if (topic.startsWith('checkbus/event/')) {
		const o = read(topic, text)
		if (!o) return
		o.received = Date.now()
		events.add(o)
		if (o.change === 'state' && isProblem(o)) {
			news.first ??= o
			news.count++
		}
	} else if (topic.startsWith('checkbus/rejected/')) {
		const r = parse(text)
		if (!told.delete(JSON.stringify(r))) addRefusal(r)
	} else if (topic.startsWith('$SYS/')) {
		gateway.note(topic, text)
	}
	draw()
}

function parse(text) {
	try {
		return JSON.parse(text)
	} catch {
		return null
	}
}

let refused = 0
let asked = null // those that came while the earlier ones are asked for
let told = new Set() // the earlier ones, as JSON, of which some may still come
let known = false // whether the earlier ones are shown

function addRefusal(r) {
	if (typeof r?.reason !== 'string') return
	if (asked?.push(r) > most) asked.shift()
	rejected.add(r)
	refused++
	byId('rejected-count').hidden = false
	setText(byId('rejected-count'), refused > 99 ? '99+' : String(refused))
	draw()
}

// readRefusals shows those from before the page was connected, and each that came
// meanwhile once.
async function readRefusals() {
	const came = (asked = [])
	const before = await refusals()
	if (asked !== came) return // connected anew
	asked = null
	if (!before || rejected.isPaused) return // refresh asks again
	known = true
	told = new Set(before.map((r) => JSON.stringify(r)))
	rejected.clear()
	refused = 0
	byId('rejected-count').hidden = true
	setText(byId('rejected-empty'), 'No message was refused.')
	for (const r of [...before, ...came.filter((r) => !told.delete(JSON.stringify(r)))]) addRefusal(r)
}

// up begins a new generation: what is not told again by its end is gone.
function up() {
	generation++
	complete = false
	asked = null
	known = false
	gateway.forget()
	byId('lost').hidden = true
	setConnection('loading')
	refresh()
}

function lost() {
	lostAt = Date.now()
	setConnection('lost')
	setText(byId('lost'), `No connection to the gateway since ${timeOfDay(lostAt)}. What is shown is from then. Trying again.`)
	byId('lost').hidden = false
	draw()
}

function setConnection(state) {
	document.body.dataset.connection = state
	setText(byId('connection'), state)
}

// refresh asks for what is not on the bus.
async function refresh() {
	if (document.hidden) return
	if (!known && !asked && !rejected.isPaused) readRefusals()
	const began = performance.now()
	if (!(await gateway.refresh())) giveUp(began)
	if (shown.view === 'gateway') gateway.showSys()
	if (shown.view === 'clients') gateway.showClients()
}

// tell reads new problems out, a few at a time.
function tell() {
	const { first, count } = news
	if (count === 0) return
	setText(byId('news'), count === 1 ? `${nameOf(first)} is ${first.state}: ${first.reason}` : `${count} new problems, the first: ${nameOf(first)} is ${first.state}`)
	Object.assign(news, { first: null, count: 0 })
}

objects.watchers.push(detail.update)
document.addEventListener('click', (event) => {
	const link = event.target.closest('nav a, #counts a')
	if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return
	event.preventDefault()
	go(link.dataset.view ? { view: link.dataset.view } : { state: link.dataset.state })
})
byId('events').addEventListener('click', (event) => {
	const object = objects.byTopic.get(event.target.closest('.name')?.closest('li').dataset.topic)
	if (object) detail.open(object)
})
document.addEventListener('keydown', (event) => {
	if (event.key !== '/' || event.target.matches('input') || byId('detail').open) return
	event.preventDefault()
	if (shown.view !== 'objects') go({ view: 'objects' })
	byId('search').focus()
})
byId('search').addEventListener('keydown', (event) => {
	if (event.key !== 'ArrowDown' && event.key !== 'Enter') return
	event.preventDefault()
	byId('objects').focus()
})
byId('search').addEventListener('input', (event) => go({ q: event.target.value }, 'replaceState'))
byId('unhandled').addEventListener('change', (event) => go({ unhandled: event.target.checked }))
addEventListener('popstate', () => {
	shown = current()
	show()
})
wide.addEventListener('change', show)
document.addEventListener('visibilitychange', refresh)

setConnection('connecting')
show()
const giveUp = follow({
	message: receive,
	up,
	lost,
	complete() {
		complete = true
		setConnection('live')
		objects.sweep(generation)
		draw()
	},
})
setInterval(refresh, 2000)
setInterval(draw, 1000) // the spans grow
setInterval(tell, betweenNews)
