import MeshModel

/// What this node serves to buyers, for programs that read it: the same text as Docs/Reference/openapi.yaml.
enum OpenAPIDocument {
    static let text = #"""
        openapi: 3.1.0
        info:
          title: AISBF Mesh, the API for buyers
          version: "1"
          description: >-
            OpenAI's API with its Responses, and Anthropic's Messages, at any node of a mesh. What is said here is what every node
            serves; Docs/Reference/http-api.md has the rest.
        servers:
          - url: /
            description: The same routes stand below /v1, /api/v1, /api/u/{username}, and without a prefix.
        security:
          - bearer: []
          - apiKey: []
        paths:
          /v1/chat/completions:
            post:
              operationId: chat
              summary: A chat completion, or a stream of its pieces
              requestBody: {required: true, content: {application/json: {schema: {$ref: "#/components/schemas/Chat"}}}}
              responses:
                "200":
                  description: The answer.
                  content:
                    application/json: {schema: {type: object}}
                    text/event-stream: {schema: {type: string}}
                default: {$ref: "#/components/responses/Error"}
          /v1/responses:
            post:
              operationId: respond
              summary: A response, or a stream of its events
              requestBody: {required: true, content: {application/json: {schema: {$ref: "#/components/schemas/Respond"}}}}
              responses:
                "200":
                  description: The answer.
                  content:
                    application/json: {schema: {type: object}}
                    text/event-stream: {schema: {type: string}}
                default: {$ref: "#/components/responses/Error"}
          /v1/responses/input_tokens:
            post:
              operationId: countInput
              summary: What a prompt of Responses is counted as by this node
              requestBody: {required: true, content: {application/json: {schema: {$ref: "#/components/schemas/Respond"}}}}
              responses:
                "200": {description: The answer., content: {application/json: {schema: {$ref: "#/components/schemas/Counted"}}}}
                default: {$ref: "#/components/responses/Error"}
          /v1/messages:
            post:
              operationId: message
              summary: A message, or a stream of its events
              requestBody: {required: true, content: {application/json: {schema: {$ref: "#/components/schemas/Message"}}}}
              responses:
                "200":
                  description: The answer.
                  content:
                    application/json: {schema: {type: object}}
                    text/event-stream: {schema: {type: string}}
                default: {$ref: "#/components/responses/AnthropicError"}
          /v1/messages/count_tokens:
            post:
              operationId: countTokens
              summary: What a prompt of Messages is counted as by this node
              requestBody: {required: true, content: {application/json: {schema: {$ref: "#/components/schemas/Message"}}}}
              responses:
                "200": {description: The answer., content: {application/json: {schema: {$ref: "#/components/schemas/Counted"}}}}
                default: {$ref: "#/components/responses/AnthropicError"}
          /v1/models:
            get:
              operationId: listModels
              summary: The models that this key may use now
              parameters:
                - {name: limit, in: query, required: false, schema: {type: integer, minimum: 1, maximum: 1000}, description: "How many are listed."}
                - {name: after_id, in: query, required: false, schema: {type: string}, description: "Those behind this one."}
                - {name: before_id, in: query, required: false, schema: {type: string}, description: "Those before this one."}
              responses:
                "200": {description: The answer., content: {application/json: {schema: {$ref: "#/components/schemas/Models"}}}}
                default: {$ref: "#/components/responses/Error"}
          /v1/models/{id}:
            get:
              operationId: getModel
              summary: One of them, by any name that means it alone
              parameters:
                - {name: id, in: path, required: true, schema: {type: string}, description: "Its name, slashes escaped or not."}
              responses:
                "200": {description: The answer., content: {application/json: {schema: {$ref: "#/components/schemas/Model"}}}}
                default: {$ref: "#/components/responses/Error"}
          /v1/model/info:
            get:
              operationId: listModelsAsLiteLLM
              summary: The same as LiteLLM lists them
              responses:
                "200": {description: The answer., content: {application/json: {schema: {type: object}}}}
                default: {$ref: "#/components/responses/Error"}
          /props:
            get:
              operationId: getProperties
              summary: One model as llama.cpp tells it
              parameters:
                - {name: model, in: query, required: false, schema: {type: string}, description: "Its name."}
              responses:
                "200": {description: The answer., content: {application/json: {schema: {type: object}}}}
                default: {$ref: "#/components/responses/Error"}
          /api/tags:
            get:
              operationId: listModelsAsOllama
              summary: The same as Ollama lists them
              responses:
                "200": {description: The answer., content: {application/json: {schema: {type: object}}}}
                default: {$ref: "#/components/responses/Error"}
          /v1/completions:
            post:
              operationId: complete
              summary: A completion of a text; of a worker that offers it
              requestBody: {required: true, content: {application/json: {schema: {$ref: "#/components/schemas/Named"}}}}
              responses:
                "200":
                  description: The answer.
                  content:
                    application/json: {schema: {type: object}}
                    text/event-stream: {schema: {type: string}}
                default: {$ref: "#/components/responses/Error"}
          /v1/embeddings:
            post:
              operationId: embed
              summary: Vectors of texts; of a worker that offers it
              requestBody: {required: true, content: {application/json: {schema: {$ref: "#/components/schemas/Named"}}}}
              responses:
                "200": {description: The answer., content: {application/json: {schema: {type: object}}}}
                default: {$ref: "#/components/responses/Error"}
          /v1/moderations:
            post:
              operationId: moderate
              summary: What is wrong with a text; of a worker that offers it
              requestBody: {required: true, content: {application/json: {schema: {$ref: "#/components/schemas/Named"}}}}
              responses:
                "200": {description: The answer., content: {application/json: {schema: {type: object}}}}
                default: {$ref: "#/components/responses/Error"}
          /v1/rerank:
            post:
              operationId: rerank
              summary: Documents by how well they answer a question; of a worker that offers it
              requestBody: {required: true, content: {application/json: {schema: {$ref: "#/components/schemas/Named"}}}}
              responses:
                "200": {description: The answer., content: {application/json: {schema: {type: object}}}}
                default: {$ref: "#/components/responses/Error"}
          /v1/images/generations:
            post:
              operationId: makeImages
              summary: Pictures; of a worker that offers them
              requestBody: {required: true, content: {application/json: {schema: {$ref: "#/components/schemas/Named"}}}}
              responses:
                "200": {description: The answer., content: {application/json: {schema: {type: object}}}}
                default: {$ref: "#/components/responses/Error"}
          /v1/audio/speech:
            post:
              operationId: speak
              summary: A text, spoken; of a worker that offers it
              requestBody: {required: true, content: {application/json: {schema: {$ref: "#/components/schemas/Named"}}}}
              responses:
                "200":
                  description: The answer.
                  content:
                    "audio/*": {schema: {type: string, format: binary}}
                    application/json: {schema: {type: object}}
                default: {$ref: "#/components/responses/Error"}
          /v1/audio/transcriptions:
            post:
              operationId: transcribe
              summary: What is said in a recording; of a worker that offers it
              requestBody: {required: true, content: {multipart/form-data: {schema: {$ref: "#/components/schemas/Recording"}}}}
              responses:
                "200":
                  description: The answer.
                  content:
                    application/json: {schema: {type: object}}
                    text/plain: {schema: {type: string}}
                default: {$ref: "#/components/responses/Error"}
          /v1/route/explain:
            get:
              operationId: explainModel
              summary: Where a request for a model would go, and why
              parameters:
                - {name: model, in: query, required: true, schema: {type: string}, description: "The model as it would be asked for."}
                - {name: endpoint, in: query, required: false, schema: {type: string}, description: "Another endpoint than chat, such as messages."}
              responses:
                "200": {description: The answer., content: {application/json: {schema: {$ref: "#/components/schemas/Explanation"}}}}
                default: {$ref: "#/components/responses/Error"}
            post:
              operationId: explain
              summary: Where this request would go, and why
              parameters:
                - {name: endpoint, in: query, required: false, schema: {type: string}, description: "Another endpoint than chat, such as messages."}
              requestBody: {required: true, content: {application/json: {schema: {$ref: "#/components/schemas/Named"}}}}
              responses:
                "200": {description: The answer., content: {application/json: {schema: {$ref: "#/components/schemas/Explanation"}}}}
                default: {$ref: "#/components/responses/Error"}
          /v1/usage:
            get:
              operationId: getUsage
              summary: What was used with this key and its user
              parameters:
                - {name: by, in: query, required: false, schema: {type: string}, description: "What the lines are by, such as model or key."}
                - {name: since, in: query, required: false, schema: {type: string}, description: "The first day or second."}
                - {name: until, in: query, required: false, schema: {type: string}, description: "The last."}
                - {name: side, in: query, required: false, schema: {type: string}, description: "seller for what the caller's own providers did."}
              responses:
                "200": {description: The answer., content: {application/json: {schema: {type: object}}}}
                default: {$ref: "#/components/responses/Error"}
          /v1/key:
            get:
              operationId: getKey
              summary: This key and its limits, as OpenRouter tells them
              responses:
                "200": {description: The answer., content: {application/json: {schema: {type: object}}}}
                default: {$ref: "#/components/responses/Error"}
          /v1/credits:
            get:
              operationId: getCredits
              summary: What is left of this month's limit
              responses:
                "200": {description: The answer., content: {application/json: {schema: {type: object}}}}
                default: {$ref: "#/components/responses/Error"}
          /v1/generation:
            get:
              operationId: getGeneration
              summary: The record of one answered request
              parameters:
                - {name: id, in: query, required: true, schema: {type: string}, description: "Its x-request-id, or the answer's own id."}
              responses:
                "200": {description: The answer., content: {application/json: {schema: {type: object}}}}
                default: {$ref: "#/components/responses/Error"}
          /v1/organization/usage/{kind}:
            get:
              operationId: getBuckets
              summary: OpenAI's buckets of usage
              parameters:
                - {name: kind, in: path, required: true, schema: {type: string}, description: "Such as completions or embeddings."}
                - {name: start_time, in: query, required: true, schema: {type: integer}, description: "Seconds since 1970."}
                - {name: end_time, in: query, required: false, schema: {type: integer}, description: "Seconds since 1970."}
                - {name: bucket_width, in: query, required: false, schema: {type: string}, description: "1m, 1h or 1d."}
                - {name: limit, in: query, required: false, schema: {type: integer}, description: "How many buckets."}
                - {name: page, in: query, required: false, schema: {type: string}, description: "Where the last page ended."}
              responses:
                "200": {description: The answer., content: {application/json: {schema: {type: object}}}}
                default: {$ref: "#/components/responses/Error"}
          /v1/organization/costs:
            get:
              operationId: getCosts
              summary: OpenAI's buckets of money
              parameters:
                - {name: start_time, in: query, required: true, schema: {type: integer}, description: "Seconds since 1970."}
                - {name: end_time, in: query, required: false, schema: {type: integer}, description: "Seconds since 1970."}
                - {name: bucket_width, in: query, required: false, schema: {type: string}, description: "1m, 1h or 1d."}
                - {name: limit, in: query, required: false, schema: {type: integer}, description: "How many buckets."}
                - {name: page, in: query, required: false, schema: {type: string}, description: "Where the last page ended."}
              responses:
                "200": {description: The answer., content: {application/json: {schema: {type: object}}}}
                default: {$ref: "#/components/responses/Error"}
          /api/version:
            get:
              operationId: getVersion
              summary: That somebody is there, as Ollama's programs ask
              security: []
              responses:
                "200": {description: The answer., content: {application/json: {schema: {type: object}}}}
          /api/hello:
            get:
              operationId: hello
              summary: That somebody is there, as Claude Code asks
              security: []
              responses:
                "200": {description: The answer., content: {application/json: {schema: {type: object}}}}
          /health:
            get:
              operationId: health
              summary: Whether the node takes requests
              security: []
              responses:
                "200": {description: The answer., content: {application/json: {schema: {$ref: "#/components/schemas/Health"}}}}
                "503": {description: The answer., content: {application/json: {schema: {$ref: "#/components/schemas/Health"}}}}
          /healthz:
            get:
              operationId: healthz
              summary: Whether the node takes requests
              security: []
              responses:
                "200": {description: The answer., content: {application/json: {schema: {$ref: "#/components/schemas/Health"}}}}
                "503": {description: The answer., content: {application/json: {schema: {$ref: "#/components/schemas/Health"}}}}
          /openapi.yaml:
            get:
              operationId: getOpenAPI
              summary: This document
              security: []
              responses:
                "200": {description: The answer., content: {application/yaml: {schema: {type: string}}}}
        components:
          securitySchemes:
            bearer: {type: http, scheme: bearer}
            apiKey: {type: apiKey, in: header, name: x-api-key}
          responses:
            Error:
              description: OpenAI's error object; x-should-retry says whether to try again.
              headers:
                x-should-retry: {schema: {enum: ["true", "false"]}}
                x-request-id: {schema: {type: string}}
              content:
                application/json:
                  schema: {$ref: "#/components/schemas/Error"}
            AnthropicError:
              description: Anthropic's error object; x-should-retry says whether to try again.
              headers:
                x-should-retry: {schema: {enum: ["true", "false"]}}
                request-id: {schema: {type: string}}
              content:
                application/json:
                  schema: {$ref: "#/components/schemas/AnthropicError"}
          schemas:
            Name: {type: string, minLength: 1, maxLength: 512}
            Named:
              type: object
              required: [model]
              properties:
                model: {$ref: "#/components/schemas/Name"}
            Chat:
              type: object
              required: [model, messages]
              properties:
                model: {$ref: "#/components/schemas/Name"}
                messages: {type: array, minItems: 1, items: {type: object}}
                stream: {type: [boolean, "null"]}
            Respond:
              type: object
              required: [model, input]
              properties:
                model: {$ref: "#/components/schemas/Name"}
                input:
                  anyOf:
                    - {type: string}
                    - {type: array, minItems: 1, items: {type: object}}
                instructions: {type: [string, "null"]}
                stream: {type: [boolean, "null"]}
                store: {type: [boolean, "null"], description: Nothing is kept.}
                previous_response_id: {type: "null", description: Nothing is kept.}
            Message:
              type: object
              required: [model, messages]
              properties:
                model: {$ref: "#/components/schemas/Name"}
                messages:
                  type: array
                  minItems: 1
                  items:
                    type: object
                    required: [role, content]
                max_tokens: {type: integer, minimum: 1}
                stream: {type: [boolean, "null"]}
            Recording:
              type: object
              required: [model, file]
              properties:
                model: {$ref: "#/components/schemas/Name"}
                file: {type: string, format: binary}
            Counted:
              type: object
              required: [input_tokens]
              properties:
                input_tokens: {type: integer, minimum: 0}
            Model:
              type: object
              required: [id, object]
              properties:
                id: {type: string}
                object: {const: model}
            Models:
              type: object
              required: [object, data, has_more]
              properties:
                object: {const: list}
                data: {type: array, items: {$ref: "#/components/schemas/Model"}}
                has_more: {type: boolean}
            Explanation:
              type: object
              required: [object, requested, strategy, candidates]
              properties:
                object: {const: route.explanation}
                requested: {type: string}
                strategy: {enum: [provider, rotation, policy]}
                candidates: {type: array, items: {type: object}}
            Health:
              type: object
              required: [status]
              properties:
                status: {enum: [ok, draining]}
            Error:
              type: object
              required: [error]
              properties:
                error:
                  type: object
                  required: [message, type, code]
                  properties:
                    message: {type: string}
                    type: {type: string}
                    param: {type: [string, "null"]}
                    code: {type: [string, "null"]}
                    request_id: {type: string}
            AnthropicError:
              type: object
              required: [type, error]
              properties:
                type: {const: error}
                error:
                  type: object
                  required: [type, message]
                  properties:
                    type: {type: string}
                    message: {type: string}
                request_id: {type: [string, "null"]}

        """#
}
