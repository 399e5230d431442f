import { readFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import t from 'tap'
import ts from 'typescript'
import { globalsOf, importsOf, parse, ROOT, type Source, sources, textOf, visit } from './source.js'

const SOURCES = sources()

/**
 * Which folder may know which. docs/architecture.md shows the same. `environment` is mostly its interface: pure
 * cores (crdt, conflict, gossip, raft, sync, wire) do not even know that.
 */
const ARROWS: Readonly<Record<string, readonly string[]>> = {
  sync: [],
  wire: ['sync'],
  environment: ['sync'],
  raft: ['sync'],
  crdt: ['sync', 'wire'],
  conflict: ['crdt', 'sync'],
  mover: ['crdt', 'sync'],
  audit: ['crdt', 'sync', 'wire'],
  gossip: ['crdt', 'sync', 'wire'],
  link: ['environment', 'sync', 'wire'],
  journal: ['environment', 'sync'],
  ledger: ['environment', 'sync', 'wire'],
  strong: ['environment', 'raft', 'sync', 'wire'],
  registry: ['environment', 'raft', 'strong', 'sync', 'wire'],
  backends: ['environment', 'registry', 'sync', 'wire'],
  node: [
    'audit',
    'conflict',
    'crdt',
    'environment',
    'gossip',
    'journal',
    'ledger',
    'link',
    'mover',
    'raft',
    'registry',
    'strong',
    'sync',
    'wire',
  ],
  simulation: [
    'conflict',
    'crdt',
    'environment',
    'gossip',
    'journal',
    'ledger',
    'link',
    'mover',
    'node',
    'raft',
    'strong',
    'registry',
    'sync',
    'wire',
  ],
  cli: ['environment', 'ledger', 'link', 'node', 'registry', 'simulation', 'strong', 'sync', 'wire'],
}

/** Built-in modules are effects unless named here; src/environment may use any. */
const BUILT_INS: Readonly<
  Record<string, { readonly where: RegExp; readonly names: RegExp; readonly why: string }>
> = {
  'node:events': { where: /^node\//, names: /^EventEmitter$/, why: 'calls listeners, nothing else' },
  'node:zlib': { where: /^(journal|ledger)\//, names: /^crc32$/, why: 'a function of its argument' },
  'node:buffer': { where: /^wire\//, names: /^(isUtf8|Buffer)$/, why: 'functions of their arguments' },
  'node:path': { where: /^cli\//, names: /./, why: 'functions of their arguments' },
  'node:url': {
    where: /^cli\//,
    names: /^(fileURLToPath|pathToFileURL)$/,
    why: 'functions of their arguments',
  },
  'node:crypto': {
    where: /^link\/proof\.ts$/,
    names: /^(createHmac|timingSafeEqual)$/,
    why: 'functions of their arguments, no randomness',
  },
  'node:async_hooks': {
    where: /^strong\/locks\.ts$/,
    names: /^AsyncLocalStorage$/,
    why: 'sees a lock taken inside itself; the same in every run',
  },
  'node:child_process': {
    where: /^cli\/demo\//,
    names: /^(fork|ChildProcess)$/,
    why: 'the demo starts servers',
  },
}

const PACKAGES: Readonly<Record<string, RegExp>> = {
  valibot: /^(node|cli|backends)\//,
  'cbor-x': /^wire\//,
  // v5 hashes; v7 gets its time and its random bytes.
  uuid: /^registry\/sync-events\.ts$/,
  commander: /^cli\//,
  pino: /^cli\//,
  ora: /^cli\//,
  'cli-table3': /^cli\//,
}

const EFFECTS = [
  'Date',
  'performance',
  'crypto',
  'fetch',
  'WebSocket',
  'setTimeout',
  'setInterval',
  'setImmediate',
  'clearTimeout',
  'clearInterval',
  'process',
  'globalThis',
  'Math.random',
]

/** Where an effect is what the file is for. */
const MAY_TOUCH: readonly { readonly where: RegExp; readonly what: string; readonly why: string }[] = [
  {
    where: /^simulation\/kernel\/macrotask\.ts$/,
    what: 'setImmediate',
    why: 'lets real promises run between events',
  },
  { where: /^simulation\/run\/simulate\.ts$/, what: 'process', why: 'an unhandled rejection fails the run' },
  { where: /^cli\/(context|signals|main)\.ts$/, what: 'process', why: 'the edge of the program' },
  { where: /^cli\/commands\/join\.ts$/, what: 'process', why: 'tells its own process id' },
  {
    where: /^cli\/demo\/(server-process|progress)\.ts$/,
    what: 'process',
    why: 'its parent process, the terminal',
  },
]

const folderOf = (path: string) => path.split('/')[0]!
const isEnvironment = ({ path }: Source) => folderOf(path) === 'environment'

function effectsIn(source: Source): string[] {
  const globals = globalsOf(source)
  return EFFECTS.filter((name) => globals.has(name) || (name === 'process' && [...globals].some(isOfProcess)))
}

const isOfProcess = (name: string) => name.startsWith('process.')

t.test('time, chance, timers, files and sockets come through the environment alone', async (t) => {
  const used = new Set<unknown>()
  for (const source of SOURCES.filter((each) => !isEnvironment(each))) {
    for (const effect of effectsIn(source)) {
      const permit = MAY_TOUCH.find(({ where, what }) => what === effect && where.test(source.path))
      if (permit) used.add(permit)
      else t.fail(`${source.path} touches ${effect}`)
    }
    for (const { module, names, typeOnly } of importsOf(source)) {
      if (module.startsWith('.')) continue
      if (module.startsWith('node:')) {
        const permit = BUILT_INS[module]
        const fits = permit?.where.test(source.path) && names.every((name) => permit.names.test(name))
        if (!fits && !typeOnly) t.fail(`${source.path} imports ${names.join(', ')} from ${module}`)
        if (permit) used.add(permit)
      } else if (!PACKAGES[module]?.test(source.path)) t.fail(`${source.path} imports ${module}`)
    }
  }
  for (const permit of [...MAY_TOUCH, ...Object.values(BUILT_INS)])
    t.ok(used.has(permit), `still needed: ${permit.where} because ${permit.why}`)
})

t.test('folders know only what lies below them', async (t) => {
  for (const source of SOURCES) {
    const folder = folderOf(source.path)
    for (const { module } of importsOf(source)) {
      if (!module.startsWith('.')) continue
      const target = folderOf(posix.join(posix.dirname(source.path), module))
      if (target === folder || folder === 'index.ts' || target === 'version.js') continue
      if (!ARROWS[folder]?.includes(target))
        t.fail(`${source.path} imports ${module}: ${folder} may not know ${target}`)
    }
  }
  const order: string[] = []
  while (order.length < Object.keys(ARROWS).length) {
    const next = Object.keys(ARROWS).find(
      (name) => !order.includes(name) && ARROWS[name]!.every((below) => order.includes(below)),
    )
    if (next === undefined)
      return t.fail(`a circle among ${Object.keys(ARROWS).filter((n) => !order.includes(n))}`)
    order.push(next)
  }
  t.pass(`from the ground up: ${order.join(', ')}`)
})

t.test('no file has more than 400 lines', async (t) => {
  for (const { path, text } of SOURCES) {
    const lines = text.trimEnd().split('\n').length
    if (lines > 400) t.fail(`${path} has ${lines} lines`)
  }
  t.ok(SOURCES.length > 100, 'the files are found')
})

t.test('every invariant that the code names is explained in docs/architecture.md', async (t) => {
  const named = new Map<string, string>()
  for (const source of SOURCES) for (const id of invariantsIn(source)) named.set(id, source.path)
  t.ok(named.size >= 5, [...named.keys()].join(' '))
  const path = join(ROOT, 'docs/architecture.md')
  const text = readFileSync(path, 'utf8')
  for (const [id, where] of named) t.ok(new RegExp(`\\b${id}\\b`).test(text), `${id}, used in ${where}`)
  for (const folder of Object.keys(ARROWS)) {
    if (SOURCES.some((source) => folderOf(source.path) === folder))
      t.ok(text.includes(folder), `the folder ${folder}`)
  }
})

/** Ids of the invariants that a file asserts. The Raft core names its own in one table. */
function invariantsIn({ tree, path }: Source): string[] {
  const ids: string[] = []
  visit(tree, (node) => {
    if (path === 'raft/invariants.ts' && ts.isStringLiteral(node)) ids.push(node.text)
    if (!ts.isCallExpression(node) && !ts.isNewExpression(node)) return
    if (!ts.isIdentifier(node.expression) || path === 'sync/errors.ts') return
    const place = { assertInvariant: 1, InvariantViolation: 0 }[node.expression.text]
    if (place === undefined) return
    const given = node.arguments![place]!
    if (!given.getText().startsWith('RAFT_INVARIANTS.')) ids.push(textOf(given))
  })
  return ids
}

t.test('the checks themselves can see', async (t) => {
  const seen = (text: string) => effectsIn(parse('x/x.ts', text))
  t.same(seen('const a = Date.now()'), ['Date'])
  t.same(seen('const a = Math.random()'), ['Math.random'])
  t.same(seen('setTimeout(f, 1); process.hrtime.bigint(); new WebSocket("")'), [
    'WebSocket',
    'setTimeout',
    'process',
  ])
  t.same(seen('const f = { setTimeout }; const g = [crypto.randomUUID()]'), ['crypto', 'setTimeout'])
  t.same(seen('/* Date */ const text = "Date.now()"; a.setTimeout(); const b = { Date: 1 }'), [])
  t.same(seen('function run(process: P) { process.schedule() }'), [])
  const modules = (text: string) => importsOf(parse('x/x.ts', text)).map(({ module }) => module)
  t.same(modules("import fs from 'node:fs'\nexport * from './a.js'\nimport('ws')\nrequire(x)"), [
    'node:fs',
    './a.js',
    'ws',
    '?',
  ])
  t.same(
    invariantsIn(parse('x/x.ts', "assertInvariant(a, 'D9', ''); throw new InvariantViolation('J9', '')")),
    ['D9', 'J9'],
  )
})
