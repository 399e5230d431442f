import t from 'tap'
import { controlMethods } from '../../src/cli/control-methods.js'
import { serveControl } from '../../src/cli/control-server.js'
import { createRealEnvironment } from '../../src/environment/real-environment.js'
import { MeshNode } from '../../src/index.js'
import { silentLogger } from '../../src/sync/logger.js'
import { silo, temporaryDirectory } from './harness.js'
import { Running } from './running.js'

const environment = createRealEnvironment()

async function serve(dataDir: string, options: Partial<Parameters<typeof MeshNode.start>[0]> = {}) {
  const secret = new Uint8Array(32).fill(7)
  const node = await MeshNode.start({ clusterId: 'sky', serverId: 'one', secret, dataDir, ...options })
  const control = await serveControl(dataDir, controlMethods(node, environment.scheduler), silentLogger)
  const stop = async () => {
    await control.close()
    await node.stop()
  }
  return { node, stop }
}

t.test('storage: with an operation id a change is made once, however often it is asked for', async (t) => {
  const dataDir = await temporaryDirectory(t)
  const here = ['--data-dir', dataDir]
  const { node, stop } = await serve(dataDir, { ledger: {} })
  t.teardown(stop)
  const ask = (kind: string, amount: string, id: string) =>
    silo(['storage', kind, 'vault', 'minecraft:diamond', amount, '--operation-id', id, ...here])
  for (let time = 0; time < 2; time++) {
    t.match(await ask('deposit', '10', 'order-1'), { exitCode: 0, stdout: /vault now holds 10/ })
  }
  for (let time = 0; time < 2; time++) {
    t.match(await ask('withdraw', '4', 'order-2'), { exitCode: 0, stdout: /vault now holds 6/ })
  }
  t.match(await ask('deposit', '11', 'order-1'), {
    exitCode: 77,
    stderr: /order-1 was used for something else/,
  })
  t.match(await ask('deposit', '1', ''), { exitCode: 64, stderr: /operationId: 1 to/ })
  t.equal(node.storage('vault').quantity('minecraft:diamond'), 6n)
})

t.test('ledger: of a running server, followed, and of one that has stopped', async (t) => {
  const dataDir = await temporaryDirectory(t)
  const here = ['--data-dir', dataDir]
  const { node, stop } = await serve(dataDir, { ledger: {} })
  t.teardown(stop)
  await node.storage('vault').deposit('minecraft:diamond', 100, { by: 'player:steve' }).durable
  const done = await silo(['storage', 'withdraw', 'vault', 'minecraft:diamond', '30', ...here])
  t.equal(done.exitCode, 0)
  const bad = ['storage', 'deposit', 'vault', 'minecraft:diamond', '1', '--by', 'a\tb', ...here]
  t.match(await silo(bad), { exitCode: 64, stderr: /by:/ })
  t.match(await silo(['storage', 'withdraw', 'vault', 'minecraft:diamond', '999', ...here]), { exitCode: 77 })
  const shown = await silo(['ledger', ...here])
  t.match(shown, { exitCode: 0, stderr: '' })
  t.match(shown.stdout.trim().split('\n'), [
    /^\S+Z {2}deposit +vault +minecraft:diamond +100 +player:steve +durable$/,
    /withdraw +vault +minecraft:diamond +30 +operator +durable$/,
    /withdraw +vault +minecraft:diamond +999 +operator +refused +INSUFFICIENT_QUANTITY$/,
  ])
  const query = ['--item', 'minecraft:diamond', '--storage', 'vault', '--since', '1h', '--json']
  const json = await silo(['ledger', '--by', 'operator', '--limit', '1', ...query, ...here])
  t.match(
    json.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line)),
    [{ type: 'withdraw', amount: '999', by: 'operator', outcome: 'refused', world: null, group: 0 }],
  )
  t.match(await silo(['ledger', '--since', 'soon', ...here]), { exitCode: 64, stderr: /90s, 15m, 2h or 7d/ })

  const follower = new Running(t, ['ledger', '--follow', '--limit', '1', '--json', ...here])
  t.match(await follower.next(), { outcome: 'refused' })
  node.storage('vault').deposit('minecraft:stick', 2)
  t.match(await follower.next(), { item: 'minecraft:stick', outcome: 'durable', by: null })
  const sticks = new Running(t, ['ledger', '--follow', '--item', 'minecraft:stick', '--json', ...here])
  t.match(await sticks.next(), { item: 'minecraft:stick', amount: '2' })
  node.storage('vault').deposit('minecraft:diamond', 3)
  node.storage('chest').deposit('minecraft:stick', 4)
  t.match(
    await sticks.next(),
    { item: 'minecraft:stick', storage: 'chest', amount: '4' },
    'of that item alone',
  )
  sticks.child.kill('SIGINT')
  t.equal(await sticks.exit, 0)
  await stop()
  const stopped = await silo(['ledger', '--limit', '4', '--json', ...here])
  t.match(stopped, { exitCode: 0, stderr: /no node runs here/ })
  t.match(
    stopped.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line)),
    [{ outcome: 'refused' }, { item: 'minecraft:stick' }, { amount: '3' }, { amount: '4' }],
  )
  t.match(await silo(['ledger', '--follow', ...here]), { exitCode: 69 })

  const without = await serve(dataDir)
  t.teardown(without.stop)
  t.match(await silo(['ledger', ...here]), { exitCode: 78, stderr: /keeps no ledger/ })
})
