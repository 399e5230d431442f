import { writeFile } from 'node:fs/promises'
import t from 'tap'
import { silo, temporaryDirectory } from './harness.js'
import { Running } from './running.js'

async function until(isTrue: () => Promise<boolean>): Promise<void> {
  while (!(await isTrue())) await new Promise((resolve) => setTimeout(resolve, 50))
}

async function json(words: readonly string[]): Promise<Record<string, never>> {
  const { exitCode, stdout, stderr } = await silo([...words, '--json'])
  if (exitCode !== 0) throw new Error(`${words.join(' ')}: exit code ${exitCode}: ${stderr}`)
  return JSON.parse(stdout)
}

t.test('two servers on one machine, as an operator runs them', async (t) => {
  const root = await temporaryDirectory(t)
  const one = ['--data-dir', `${root}/one`]
  const two = ['--data-dir', `${root}/two`]
  t.equal(
    (await silo(['init', '--cluster', 'sky', '--server', 'one', '--listen', '127.0.0.1:0', ...one])).exitCode,
    0,
  )
  const first = new Running(t, ['join', '--json', ...one])
  t.match(await first.next(), { server_id: 'one', cluster_id: 'sky', process_id: first.child.pid })

  const { token } = await json(['invite', ...one])
  const second = new Running(t, ['join', '-', '--server', 'two', '--json', ...two], {}, `${token}\n`)
  t.match(await second.next(), { server_id: 'two', cluster_id: 'sky' })
  await until(async () => (await json(['status', ...one])).links === 1)
  const { members } = await json(['members', ...two])
  t.match(members, [
    { server_id: 'one', self: false, linked: true },
    { server_id: 'two', self: true },
  ])

  const watch = new Running(t, ['watch', '--json', ...two])
  t.match(await watch.next(), { type: 'watching', server_id: 'two' })
  const huge = '123456789012345678901234567890'
  const deposit = await json([
    'storage',
    'deposit',
    'vault',
    'minecraft:diamond',
    huge,
    '--level',
    'STRONG',
    ...one,
  ])
  t.match(deposit, { storage: 'vault', world: null, amount: huge, quantity: huge, level: 'STRONG' })
  t.match(await watch.next(), { type: 'change', storage: 'vault', item: 'minecraft:diamond', quantity: huge })
  await until(
    async () =>
      (await silo(['storage', 'withdraw', 'vault', 'minecraft:diamond', '7', ...two])).exitCode === 0,
  )
  const left = (BigInt(huge) - 7n).toString()
  t.strictSame(await json(['storage', 'show', 'vault', '--level', 'QUORUM', ...one]), {
    storage: 'vault',
    world: null,
    items: [{ item: 'minecraft:diamond', quantity: left }],
  })
  t.strictSame(await json(['storage', 'list', ...two]), {
    storages: [{ storage: 'vault', world: null, items: 1, quantity: left }],
  })
  for (const command of [['status'], ['members'], ['storage', 'list'], ['storage', 'show', 'vault']]) {
    const { exitCode, stdout, stderr } = await silo([...command, ...one])
    t.equal(exitCode, 0)
    t.not(stdout, '')
    t.equal(stderr, '', 'no chatter')
  }

  const change = (...words: string[]) => silo(['storage', ...words, ...two])
  t.match(await change('withdraw', 'vault', 'minecraft:stone', '1'), { exitCode: 77, stderr: /only 0/ })
  t.match(await change('deposit', 'vault', 'Stone', '1'), { exitCode: 64, stderr: /namespace/ })
  t.match(await change('deposit', 'vault', 'minecraft:stone', '0'), { exitCode: 64, stderr: /positive/ })
  t.match(await change('deposit', ' ', 'minecraft:stone', '1'), { exitCode: 64, stderr: /storage id/ })
  t.match(await change('deposit', 'vault', 'a:b', '9'.repeat(161)), { exitCode: 64 })
  t.match(await change('deposit', 'vault', 'a:b', '1', '--world', 'nether'), {
    exitCode: 64,
    stderr: /nether/,
  })
  t.match(await silo(['join', ...two]), { exitCode: 75, stderr: /in use/ }, 'one process a data directory')
  const { items } = await json(['storage', 'show', 'vault', ...two])
  t.strictSame(items, [{ item: 'minecraft:diamond', quantity: left }], 'nothing has changed')

  watch.child.kill('SIGINT')
  t.equal(await watch.exit, 0, 'Ctrl-C is how a watch ends')
  second.child.kill('SIGTERM')
  t.equal(await second.exit, 0, `stopped properly: ${second.stderr}`)
  t.match(await silo(['status', ...two]), { exitCode: 69, stdout: '' })

  const onlooker = new Running(t, ['watch', '--json', ...one])
  await onlooker.next()
  first.child.kill('SIGKILL')
  await first.exit
  t.equal(await onlooker.exit, 69, 'the node is gone')
  for (const command of [['status'], ['members'], ['storage', 'list'], ['invite'], ['watch']])
    t.match(await silo([...command, ...one]), { exitCode: 69, stdout: '', stderr: /silo-mesh join/ })

  const again = new Running(t, ['join', '--json', ...one], { SILO_MESH_TOKEN: token! })
  await again.next()
  t.match(
    await json(['storage', 'show', 'vault', ...one]),
    { items: [{ quantity: left }] },
    'a kill loses nothing',
  )
  again.child.kill('SIGINT')
  t.equal(await again.exit, 0)
})

t.test('a mesh that turns a newcomer away is told to its operator', async (t) => {
  const root = await temporaryDirectory(t)
  const one = ['--data-dir', `${root}/one`]
  await silo(['init', '--cluster', 'sky', '--server', 'one', '--listen', '127.0.0.1:0', ...one])
  const first = new Running(t, ['join', '--json', ...one])
  const { address } = await first.next()
  const other = ['--data-dir', `${root}/other`]
  await silo(['init', '--cluster', 'sky', '--server', 'other', '--listen', '127.0.0.1:0', ...other])
  const impostor = new Running(t, ['join', '--json', ...other])
  await impostor.next()
  const { token } = await json(['invite', ...other])
  impostor.child.kill('SIGTERM')
  await impostor.exit
  // The other mesh's key, the first mesh's door.
  const { decodeToken, encodeToken } = await import('../../src/cli/token.js')
  const forged = encodeToken({ ...decodeToken(token!), addresses: [String(address)] })
  await writeFile(`${root}/token`, forged)
  const stranger = new Running(t, ['join', '-', '--server', 'two', '--data-dir', `${root}/two`], {}, forged)
  t.equal(await stranger.exit, 77)
  t.match(stranger.stderr, /does not let this server in/)
  t.notMatch(stranger.stderr, forged.slice(20, 60))
  t.match(await json(['status', ...one]), { links: 0, members: 1 })
})
