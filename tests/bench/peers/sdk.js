// SPDX-License-Identifier: Apache-2.0
'use strict'
// node sdk.js URL OUT: the AWS Encryption SDK for JavaScript on the object that sealboot opens.
const fs = require('node:fs')
const { pipeline } = require('node:stream/promises')
const { buildClient, CommitmentPolicy } = require('@aws-crypto/client-node')
const kms = require('../../e2e/js/kms')

const [url, output] = process.argv.slice(2)
const client = buildClient(CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT)
require(url.startsWith('https:') ? 'node:https' : 'node:http').get(url, answer => {
  if (answer.statusCode !== 200) throw new Error(`HTTP ${answer.statusCode}`)
  pipeline(answer, client.decryptStream(kms.toDecrypt()), fs.createWriteStream(output))
    .catch(e => { console.error(e); process.exitCode = 1 })
})
