internal import Foundation
package import MeshModel
internal import SwiftASN1
internal import X509

/// What a certificate says of itself, for the operator who has to renew it in time.
package struct CertificateFacts: Sendable, Hashable {
    /// Host names and addresses it is for; the common name where it has none.
    package var names: [String]
    package var notBefore: Timestamp
    package var notAfter: Timestamp

    /// The first certificate of a PEM file. Nil when there is none that can be read.
    package init?(pemFile path: String) {
        guard let data = FileManager.default.contents(atPath: path), data.count <= 1 << 20,
            let text = String(data: data, encoding: .utf8),
            let document = try? PEMDocument.parseMultiple(pemString: text).first(where: {
                $0.discriminator == Certificate.defaultPEMDiscriminator
            }), let certificate = try? Certificate(pemDocument: document)
        else { return nil }
        notBefore = Self.time(certificate.notValidBefore)
        notAfter = Self.time(certificate.notValidAfter)
        var names: [String] = []
        if let alternatives = try? certificate.extensions.subjectAlternativeNames {
            for name in alternatives {
                switch name {
                case .dnsName(let host): names.append(host)
                case .ipAddress(let bytes): names.append(Self.address(Array(bytes.bytes)))
                default: break
                }
            }
        }
        self.names = Array((names.isEmpty ? ["\(certificate.subject)"] : names).prefix(16))
    }

    private static func time(_ date: Date) -> Timestamp {
        Timestamp(milliseconds: Int64(clamping: Int(date.timeIntervalSince1970)) * 1_000)
    }

    private static func address(_ bytes: [UInt8]) -> String {
        bytes.count == 4
            ? bytes.map(String.init).joined(separator: ".")
            : stride(from: 0, to: bytes.count - 1, by: 2)
                .map { String(UInt16(bytes[$0]) << 8 | UInt16(bytes[$0 + 1]), radix: 16) }.joined(separator: ":")
    }
}
