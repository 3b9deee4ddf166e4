// Texts and elements. All that comes from elsewhere becomes text, never markup.

// element makes an element with attributes and children.
export function element(name, attributes = {}, ...children) {
	const e = document.createElement(name)
	for (const [key, value] of Object.entries(attributes)) {
		if (value !== undefined && value !== false) e.setAttribute(key, value === true ? '' : value)
	}
	e.append(...children)
	return e
}

export const byId = (id) => document.getElementById(id)

// setText changes a text only where it is another: layout is costly.
export function setText(e, text) {
	if (e.textContent !== text) e.textContent = text
}

const stamp = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' })
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' })

// date is '' for what is no time.
export const date = (time) => (Number.isNaN(Date.parse(time)) ? '' : stamp.format(new Date(time)))
export const timeOfDay = (time) => clock.format(new Date(time))

// span is in the largest two units: 3m 10s.
export function span(seconds) {
	const s = Math.max(0, Math.floor(seconds))
	if (s < 60) return `${s}s`
	if (s < 3600) return `${Math.floor(s / 60)}m ${s % 60}s`
	if (s < 86400) return `${Math.floor(s / 3600)}h ${Math.floor((s % 3600) / 60)}m`
	return `${Math.floor(s / 86400)}d ${Math.floor((s % 86400) / 3600)}h`
}

const decimal = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 })

export const number = (n) => decimal.format(n)

// bytes writes a number of bytes with a unit.
export function bytes(n) {
	const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
	let i = 0
	while (n >= 1024 && i < units.length - 1) {
		n /= 1024
		i++
	}
	return `${decimal.format(n)} ${units[i]}`
}

// flags are what a core says beside the state.
export function flags(o) {
	const list = []
	if (o.state_type === 'soft') list.push(`soft ${o.attempt}`)
	if (o.acknowledged) list.push('acknowledged')
	if (o.in_downtime) list.push('downtime')
	if (o.flapping) list.push('flapping')
	return list
}

export const nameOf = (o) => (o.service ? `${o.host} ${o.service}` : o.host)
