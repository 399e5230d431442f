import { spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'

const ROOT = join(import.meta.dirname, '../..')
const EXAMPLES = join(ROOT, 'docs/examples')
const TIMEOUT_MS = 60_000

/** Brings the examples into the type check of the whole project (`npm run types`). */
export type TypeChecked = [
  typeof import('../../docs/examples/batches.js'),
  typeof import('../../docs/examples/embed.js'),
  typeof import('../../docs/examples/shared-state.js'),
  typeof import('../../docs/examples/strong.js'),
  typeof import('../../docs/examples/withdrawals.js'),
]

/** What each example must say, in this order, whatever else it says. */
const EXPECTED: Readonly<Record<string, readonly RegExp[]>> = {
  'batches.ts': [
    /^left: \[ \{ item: 'minecraft:iron_ingot', quantity: 5n \} \]$/m,
    /^made: 1n$/m,
    /^refused: INSUFFICIENT_RIGHTS 5n$/m,
  ],
  'embed.ts': [
    /^lobby-1 sees 100n$/m,
    /^lobby-1 takes 30n backed$/m,
    /^mine-1 takes 50n (backed|provisional) confirmed$/m,
    /^refused: INSUFFICIENT_QUANTITY 20n$/m,
    /^lobby-1 hears of minecraft:diamond_sword\{damage:5\} 1n$/m,
  ],
  'shared-state.ts': [/^second hears STORAGE_SYNC_FULL vault$/m, /^motd: welcome$/m],
  'strong.ts': [
    /^refused: CONFLICT$/m,
    /^lobby-1 sees bank$/m,
    /^transfer \[ 'minecraft:\*_ore' \] 64$/m,
    /^sold: true$/m,
    /^transfers left: 0$/m,
  ],
  'withdrawals.ts': [
    /^south took 4n backed$/m,
    /^north took 6n backed$/m,
    /^south was refused, holders: /m,
    /^south took 6n provisional$/m,
    /^take 6 minecraft:emerald back from the player on south$/m,
    /^settled: compensated$/m,
    /^left: 0n$/m,
  ],
}

/** Runs an example against src: test/docs/tsconfig.json leads the package's own name there. */
function run(name: string): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--import=tsx', join(EXAMPLES, name)], {
      cwd: ROOT,
      env: { ...process.env, TSX_TSCONFIG_PATH: join(ROOT, 'test/docs/tsconfig.json'), NO_COLOR: '1' },
      timeout: TIMEOUT_MS,
    })
    let output = ''
    const add = (text: Uint8Array) => {
      output += String(text)
    }
    child.stdout.on('data', add)
    child.stderr.on('data', add)
    child.once('error', reject)
    child.once('close', (code) => resolve({ code, output }))
  })
}

t.test('the examples do what they say', async (t) => {
  const names = readdirSync(EXAMPLES).sort()
  t.same(names, Object.keys(EXPECTED), 'every example has its expectations')
  const runs = await Promise.all(names.map(async (name) => ({ name, ...(await run(name)) })))
  for (const { name, code, output } of runs) {
    t.equal(code, 0, `${name} ends well: ${output}`)
    let from = 0
    for (const pattern of EXPECTED[name]!) {
      const found = pattern.exec(output.slice(from))
      if (!t.ok(found, `${name}: ${pattern} in ${JSON.stringify(output)}`)) break
      from += found!.index + found![0].length
    }
  }
})

t.test('the README shows an example as it is', async (t) => {
  const readme = readFileSync(join(ROOT, 'README.md'), 'utf8')
  const blocks = [...readme.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code]) => code!)
  t.ok(blocks.length > 0)
  const examples = readdirSync(EXAMPLES).map((name) => readFileSync(join(EXAMPLES, name), 'utf8'))
  for (const block of blocks)
    t.ok(examples.includes(block), `a file of docs/examples holds: ${block.slice(0, 80)}`)
})
