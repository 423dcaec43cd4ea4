// SPDX-License-Identifier: Apache-2.0
'use strict'
// The SDK's own KMS keyring, its client pointed at AWS_ENDPOINT_URL_KMS. Credentials come from the environment, as ever.
const { KmsKeyringNode } = require('@aws-crypto/client-node')
const { KMS } = require('@aws-sdk/client-kms')

const clientProvider = region => new KMS({ region, endpoint: process.env.AWS_ENDPOINT_URL_KMS })

exports.toEncrypt = generatorKeyId => new KmsKeyringNode({ clientProvider, generatorKeyId })
exports.toDecrypt = () => new KmsKeyringNode({ clientProvider, discovery: true })
