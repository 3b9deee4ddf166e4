// Small charts of rates.
import { element, setText } from './text.js'

const samples = 150
const width = 240
const height = 56

// A Chart draws the latest values of one figure; format writes one of them.
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

	add(value) {
		this.values.push(value)
		if (this.values.length > samples) this.values.shift()
		setText(this.label, this.format(value))
		const top = Math.max(...this.values, 1e-9)
		setText(this.peak, `peak ${this.format(Math.max(...this.values))} in 5 min`)
		const step = width / (samples - 1)
		const from = samples - this.values.length
		const points = this.values.map((v, i) => `${((from + i) * step).toFixed(1)},${(height - 2 - (v / top) * (height - 6)).toFixed(1)}`)
		this.line.setAttribute('d', `M${points.join('L')}`)
		this.area.setAttribute('d', `M${(from * step).toFixed(1)},${height}L${points.join('L')}L${width},${height}Z`)
	}
}
