// What is shown, as the page's address says it: ?view=...&state=...&q=...&unhandled=1
import { isHandled, isProblem, states } from './objects.js'

export const views = ['objects', 'events', 'rejected', 'gateway', 'clients']

// current reads the address.
export function current() {
	const query = new URLSearchParams(location.search)
	const view = query.get('view')
	const state = query.get('state')
	return {
		view: views.includes(view) ? view : 'objects',
		state: state === 'all' || states.includes(state) ? state : 'problems',
		q: query.get('q') ?? '',
		unhandled: query.get('unhandled') === '1',
	}
}

// address is the address that shows what.
export function address(what) {
	const query = new URLSearchParams()
	if (what.view !== 'objects') query.set('view', what.view)
	if (what.state !== 'problems') query.set('state', what.state)
	if (what.q) query.set('q', what.q)
	if (what.unhandled) query.set('unhandled', '1')
	const text = query.toString()
	return text ? `?${text}` : location.pathname
}

// matcher makes a function that tells whether an object is shown. All words of q
// must be found; host: and service: look there alone.
export function matcher({ state, q, unhandled }) {
	const words = q.toLowerCase().split(/\s+/).filter(Boolean).map((word) => {
		const [, field, text] = /^(host|service):(.*)$/.exec(word) ?? []
		return field ? (o) => o[field].toLowerCase().includes(text) : (o) => o.text.includes(word)
	})
	return (o) =>
		(state === 'all' || (state === 'problems' ? isProblem(o) : o.state === state)) &&
		!(unhandled && isHandled(o)) &&
		words.every((has) => has(o))
}
