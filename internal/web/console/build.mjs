// Builds the console into dist, which is committed and embedded into the
// binary: npm ci && npm run build, or make console.
import { build } from 'esbuild'
import { copyFile, mkdir } from 'node:fs/promises'

await mkdir('dist', { recursive: true })
await build({
	entryPoints: ['src/console.js', 'src/console.css'],
	outdir: 'dist',
	bundle: true,
	minify: true,
	format: 'esm',
	target: 'es2022',
	charset: 'utf8',
	legalComments: 'eof',
})
await copyFile('src/index.html', 'dist/index.html')
await copyFile('src/icon.svg', 'dist/icon.svg')
