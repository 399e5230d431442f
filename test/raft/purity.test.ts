import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'

const ROOM = join(import.meta.dirname, '../../src/raft')

function sources(): string[] {
  return readdirSync(ROOM, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .sort()
}

/** What is not a function of its arguments. */
const FORBIDDEN: readonly [string, RegExp][] = [
  ['the clock', /\bDate\b|\bperformance\b|\bhrtime\b/],
  ['chance', /Math\.random|\bcrypto\b/],
  ['timers', /\bset(Timeout|Interval|Immediate)\b|\bqueueMicrotask\b|\bnextTick\b/],
  ['waiting', /\basync\b|\bawait\b|\bPromise\b/],
  ['the process', /\bprocess\.|\bconsole\.|\bglobalThis\b/],
]

/** Besides its own files the core knows the errors, and nothing else. */
const ALLOWED_IMPORT = /^(\.\/|\.\.\/)+(sync\/errors\.js|[a-z-]+\.js|state-machine\/[a-z-]+\.js)$/

function code(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '')
}

t.test('the Raft core touches no clock, chance, timer, file or socket', async (t) => {
  const names = sources()
  t.ok(names.length > 30, 'the files are found')
  for (const name of names) {
    const text = code(readFileSync(join(ROOM, name), 'utf8'))
    for (const [what, pattern] of FORBIDDEN) t.notMatch(text, pattern, `${name} touches ${what}`)
    for (const [, source] of text.matchAll(/\bfrom\s+'([^']+)'|\bimport\(/g)) {
      t.match(source ?? 'dynamic import', ALLOWED_IMPORT, `${name} imports ${source}`)
    }
  }
})

t.test('the check itself can see', async (t) => {
  t.match('const now = Date.now()', FORBIDDEN[0]![1])
  t.notMatch("'../environment/environment.js'", ALLOWED_IMPORT)
  t.notMatch('node:fs', ALLOWED_IMPORT)
  t.notMatch('../link/link.js', ALLOWED_IMPORT)
  t.match('../../sync/errors.js', ALLOWED_IMPORT)
})

t.test('files stay within a screenful or three', async (t) => {
  for (const name of sources()) {
    const lines = readFileSync(join(ROOM, name), 'utf8').split('\n').length
    t.ok(lines <= 400, `${name} has ${lines} lines`)
  }
})
