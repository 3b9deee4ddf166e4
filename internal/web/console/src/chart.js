// Small charts of rates.
import { element, setText } from './text.js'

const span = 300_000 // ms, five minutes
const width = 240
const height = 56

// A Chart draws the values of one figure in the last five minutes; format writes one
// of them.
export class Chart {
	constructor(title, format) {
		this.format = format
		this.values = []
		this.label = element('output', {})
		this.peak = element('span', { class: 'hint' })
		this.picture = document.createElementNS('http://www.w3.org/2000/svg', 'svg')
		this.picture.setAttribute('viewBox', `0 0 ${width} ${height}`)
		this.picture.setAttribute('preserveAspectRatio', 'none')
		this.picture.setAttribute('aria-hidden', 'true')
		this.area = this.picture.appendChild(document.createElementNS(this.picture.namespaceURI, 'path'))
		this.area.setAttribute('class', 'area')
		this.line = this.picture.appendChild(document.createElementNS(this.picture.namespaceURI, 'path'))
		this.line.setAttribute('class', 'line')
		this.element = element('figure', {}, element('figcaption', {}, `${title} `, this.label), this.picture, this.peak)
	}

	// add takes the value of a moment, in ms.
	add(value, now) {
		this.values.push({ value, at: now })
		while (now - this.values[0].at > span) this.values.shift()
		const top = Math.max(...this.values.map((v) => v.value))
		setText(this.label, this.format(value))
		setText(this.peak, `peak ${this.format(top)} in 5 min`)
		const x = (v) => (width * (1 - (now - v.at) / span)).toFixed(1)
		const points = this.values.map((v) => `${x(v)},${(height - 2 - (v.value / (top || 1)) * (height - 6)).toFixed(1)}`).join('L')
		this.line.setAttribute('d', `M${points}`)
		this.area.setAttribute('d', `M${x(this.values[0])},${height}L${points}L${width},${height}Z`)
	}
}
